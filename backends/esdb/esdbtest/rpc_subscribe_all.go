package esdbtest

// A subscription catches up page by page and then follows the log. Where it stands
// is the last event or checkpoint that it sent, and it never sends an event twice,
// so that the switch between the two needs no lock; and a slow client delays only
// its own pages, never a writer.

// liveQueue is how many events and checkpoints may wait for a subscription that
// follows the log. With more it falls behind: it catches up again, and says so.
const liveQueue = 32

func (r *reader) subscribeAll(keep filter) error {
	from, somewhere, err := allFrom(r.options.GetAll())
	if err != nil {
		return err
	}
	if !somewhere || (keep.set && keep.interval == 0 && keep.window > 0) {
		return handlerError()
	}
	f := follower{reader: r, keep: keep, reached: from}
	count, last := r.srv.store.logEnd()
	if from == endOfLog() {
		f.reached = last
	}
	f.began, f.index = count, count
	if err := r.stream.Send(confirmation()); err != nil {
		return err
	}
	if keep.set && keep.window == 0 {
		return handlerError() // after the confirmation, as on the real server
	}
	return f.run(f.reached.before(last))
}

// follower is a subscription to $all.
type follower struct {
	*reader
	keep    filter
	reached logPosition // the last event or checkpoint that was sent
	began   int64       // index of the first record after the subscription began
	index   int64       // of the next record to follow

	checkpointed bool
	checkpoint   uint64 // the last one that was sent, its commit position
	prepare      uint64 // and its prepare position
}

func (f *follower) run(behind bool) error {
	for {
		if behind {
			if err := f.catchUp(); err != nil {
				return err
			}
		}
		if err := f.sendCaughtUp(false, func() []byte {
			if f.reached == beforeStart() {
				return caughtUpAt(f.srv.opts.Now())
			}
			return caughtUpAtPosition(f.srv.opts.Now(), f.reached)
		}); err != nil {
			return err
		}
		if err := f.follow(); err != nil {
			return err
		}
		if err := f.sendCheckpoint(f.reached); err != nil {
			return err
		}
		behind = true
	}
}

// catchUp reads pages until the end of the log. What it says of its progress is
// what the server says: a checkpoint names the place where the page that was just
// read began, or the last event sent if that is later, and the last one, at the
// end, repeats what was sent before. It does not name the end. Where nothing was
// sent and no page was passed the old servers name the place before the first
// record, which on the wire is the largest number, and so means the end.
func (f *follower) catchUp() error {
	considered := 0
	for begin := f.reached; ; {
		if err := f.page(); err != nil {
			return err
		}
		if begin == beforeStart() {
			begin = logPosition{}
		}
		index, err := f.srv.store.indexToFollow(begin)
		if err != nil {
			return err
		}
		p := f.srv.store.allForward(index, pageSize, f.keep.window, f.keep)
		for _, rec := range p.records {
			if err := f.sendEvent(rec); err != nil {
				return err
			}
		}
		newer := f.srv.opts.newCheckpoints()
		if newer && len(p.records) > 0 {
			f.pass(begin)
		}
		if f.index = p.next; p.end {
			if newer && f.reached == beforeStart() {
				f.reached = logPosition{}
			}
			return f.sendCheckpoint(f.reached)
		}
		if considered += len(p.records); f.keep.set && considered >= f.keep.interval {
			considered %= f.keep.interval
			f.pass(begin)
			if err := f.sendCheckpoint(f.reached); err != nil {
				return err
			}
		}
		// Pages begin where a record ends, which is no event's position.
		begin = logPosition{commit: p.records[len(p.records)-1].end()}
	}
}

// pass notes that the subscription stands at the position, or beyond it.
func (f *follower) pass(position logPosition) {
	if f.reached.before(position) {
		f.reached = position
	}
}

// follow sends records as they are written, until too much waits.
func (f *follower) follow() error {
	for {
		if err := f.page(); err != nil {
			return err
		}
		l := f.srv.store.live(f.index, f.arrives)
		if l.overflows {
			return nil
		}
		for i, rec := range l.records {
			if err := f.sendEvent(rec); err != nil {
				return err
			}
			if f.due(f.index+int64(i)) && !rec.at().before(f.reached) {
				f.reached = rec.at()
				if err := f.sendCheckpoint(f.reached); err != nil {
					return err
				}
			}
		}
		if f.index += int64(len(l.records)); len(l.records) > 0 {
			continue
		}
		if err := f.wait(l.wake); err != nil {
			return err
		}
	}
}

// arrives counts what the record puts into the queue.
func (f *follower) arrives(index int64, rec *record) int {
	n := 0
	if f.keep.matches(rec) && f.reached.before(rec.at()) {
		n++
	}
	if f.due(index) {
		n++
	}
	return n
}

// due reports whether a checkpoint comes behind the record of that index.
func (f *follower) due(index int64) bool {
	return f.keep.set && (index+1-f.began)%int64(f.keep.interval) == 0
}

func (f *follower) sendEvent(rec *record) error {
	if !f.reached.before(rec.at()) || !f.keep.matches(rec) {
		return nil
	}
	f.reached = rec.at()
	return f.send(rec)
}

// sendCheckpoint sends no checkpoint that is not beyond the last one. It compares
// what is sent, in which the place before the first record is the largest of all:
// nothing comes after it.
func (f *follower) sendCheckpoint(at logPosition) error {
	commit, prepare := uint64(at.commit), uint64(at.prepare)
	if !f.keep.set || (f.checkpointed && (commit < f.checkpoint || (commit == f.checkpoint && prepare <= f.prepare))) {
		return nil
	}
	f.checkpointed, f.checkpoint, f.prepare = true, commit, prepare
	return f.stream.Send(checkpoint(at))
}

// sendCaughtUp says that the subscription caught up; the contents are asked for
// where the server's version has some.
func (r *reader) sendCaughtUp(missingStream bool, contents func() []byte) error {
	switch {
	case !r.srv.opts.atLeast(23, 10) || (missingStream && !r.srv.opts.atLeast(24, 2)):
		return nil
	case !r.srv.opts.newCheckpoints():
		return r.stream.Send(caughtUp(nil))
	}
	return r.stream.Send(caughtUp(contents()))
}

// logEnd is the number of records, and the position of the last.
func (s *store) logEnd() (count int64, last logPosition) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return int64(len(s.records)), s.records[len(s.records)-1].at()
}

// indexToFollow is the index of the record at the position, or of the first
// behind it.
func (s *store) indexToFollow(from logPosition) (int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.validPosition(from.commit) {
		return 0, invalidArgument("Trying to read from an invalid position.")
	}
	return int64(s.indexFrom(from.commit)), nil
}

// liveRecords are records that were written, as a subscription finds them.
type liveRecords struct {
	records   []*record
	overflows bool            // more of them wait than the queue holds
	wake      <-chan struct{} // closed when something is written after they were taken
}

// live takes the records from the index on. What was written first is being
// delivered, however much it is; what was written after it waits in the queue.
func (s *store) live(index int64, arrives func(index int64, rec *record) int) liveRecords {
	s.mu.RLock()
	defer s.mu.RUnlock()
	l := liveRecords{records: s.records[index:], wake: s.wake}
	l.overflows = overflows(l.records, func(i int, rec *record) int { return arrives(index+int64(i), rec) })
	return l
}

func overflows(records []*record, arrives func(i int, rec *record) int) bool {
	waiting, first := 0, true
	for i, rec := range records {
		if !first {
			waiting += arrives(i, rec)
		}
		if rec.ends {
			first = false
		}
		if waiting > liveQueue {
			return true
		}
	}
	return false
}
