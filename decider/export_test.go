package decider

// WithoutTurns makes a Decider's calls run without waiting for each other.
func WithoutTurns[S, E any](d *Decider[S, E]) { d.turns.off = true }
