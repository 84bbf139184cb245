package postgres_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/ownertest"
)

// Writers of three processes are at work when another one seals the store: what each
// was told is stored is before the seal, and nothing is stored after it.
func TestASealIsExactAcrossProcesses(t *testing.T) {
	rawURL := server.Database(t)
	backend := openBackend(t, openPool(t, rawURL), nil)
	store := newStore(t, backend, nil)
	for round := range 3 {
		says := make(chan ownertest.Line, 1<<16)
		var children []*ownertest.Process
		for range 3 {
			children = append(children, ownertest.Start(t, childWrite, rawURL, says))
		}
		var heard []ownertest.Line
		for stored := map[*ownertest.Process]int{}; len(stored) < len(children) || len(heard) < 200; {
			s := <-says
			require.Equal(t, "stored", s.Word, s.Text)
			heard, stored[s.By] = append(heard, s), stored[s.By]+1
		}
		reason := "round " + strconv.Itoa(round)
		info, err := store.Seal(t.Context(), reason)
		require.NoError(t, err)
		require.True(t, info.Sealed)
		for _, c := range children {
			<-c.Ended()
		}
		close(says)
		refused := 0
		for s := range says {
			if s.Word == "sealed" {
				require.Equal(t, reason, s.Text)
				refused++
				continue
			}
			heard = append(heard, s)
		}
		require.Equal(t, len(children), refused, "every process is told the reason")
		head, _ := info.Head.Position.Words()
		told := make(map[uint64]bool)
		for _, s := range heard {
			require.Equal(t, "stored", s.Word, s.Text)
			position, err := strconv.ParseUint(s.Text, 10, 64)
			require.NoError(t, err)
			require.LessOrEqual(t, position, head, "acknowledged, and behind the seal")
			told[position] = true
		}
		after, err := store.Info(t.Context())
		require.NoError(t, err)
		require.Equal(t, info, after, "nothing is stored after the seal")

		// Whoever has read up to the seal has everything that anybody was told of.
		for message, err := range store.Subscribe(t.Context(), eventstore.SubscribeOptions{}) {
			require.NoError(t, err)
			if message.Kind == eventstore.MessageSealed {
				require.Equal(t, info.Head, message.Place)
				break
			}
			if message.Kind == eventstore.MessageEvent {
				high, _ := message.Event.Position.Words()
				delete(told, high)
			}
		}
		require.Empty(t, told)
		_, err = store.Unseal(t.Context())
		require.NoError(t, err)
	}
}

// A role that appends cannot seal, nor lift a seal: that is its owner's.
func TestSealingNeedsARightOfItsOwn(t *testing.T) {
	_, _, owner := openStore(t)
	role, rawURL := newRole(t, owner)
	mustExec(t, owner, "grant usage on schema switchyard to "+role, "grant select on all tables in schema switchyard to "+role,
		"grant execute on function switchyard.append, switchyard.append_one to "+role)
	store := newStore(t, openBackend(t, openPool(t, rawURL), nil), nil)
	_, err := store.Append(t.Context(), "order-1", eventstore.Any(), event("Placed", "{}"))
	require.NoError(t, err)
	for range 2 {
		_, err = store.Seal(t.Context(), "moved")
		definite(t, err, "seal")
		require.ErrorContains(t, err, "permission denied for function seal (SQLSTATE 42501); grant the role of this connection the rights that the README of backends/postgres lists")
		mustExec(t, owner, `update switchyard.store set seal_reason = 'sealed already'`)
	}
	_, err = store.Unseal(t.Context())
	require.ErrorContains(t, err, "42501")
	mustExec(t, owner, "grant execute on function switchyard.seal to "+role)
	info, err := store.Seal(t.Context(), "moved")
	require.NoError(t, err)
	require.Equal(t, "sealed already", info.SealReason)
	_, err = store.Append(t.Context(), "order-1", eventstore.Any(), event("Placed", "{}"))
	require.ErrorIs(t, err, eventstore.ErrSealed)
}

// An append that holds the order's lock is before the seal, however long its transaction
// takes: whoever has read up to the seal has it.
func TestASealWaitsForTheAppendThatIsUnderWay(t *testing.T) {
	store, backend, pool := openStore(t)
	holder, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = holder.Rollback(context.WithoutCancel(t.Context())) }() // where the test fails
	_, err = backend.AppendTx(t.Context(), holder, "order-1", eventstore.NoStream(), event("Placed", "{}"))
	require.NoError(t, err)
	type answer struct {
		info eventstore.Info
		err  error
	}
	sealed := make(chan answer, 1)
	go func() {
		info, err := store.Seal(context.WithoutCancel(t.Context()), "moving")
		sealed <- answer{info, err}
	}()
	awaitWaiter(t, pool)
	require.NoError(t, holder.Commit(t.Context()))
	got := <-sealed
	require.NoError(t, got.err)
	require.Equal(t, "order-1", got.info.Head.Stream, "the append that was under way")
	after, err := store.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, got.info, after)
}
