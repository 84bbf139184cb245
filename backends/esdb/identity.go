package esdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// mark is the record that makes a part of the server's log a store: its identity. In
// a namespace it is where the store begins.
type mark struct {
	id uuid.UUID
	at eventstore.Position
}

// storedMark is the data of the mark's record.
type storedMark struct {
	ID uuid.UUID `json:"id"`
}

// open finds the store's mark, or writes one.
func (b *Backend) open(ctx context.Context) error {
	found, err := b.readMark(ctx)
	if err != nil || found != nil {
		b.learnMark(found)
		return err
	}
	if b.options.NoCreate {
		return b.openUnmarked()
	}
	err = b.writeMark(ctx)
	if isRefusal(err) && b.names.namespace == "" {
		return nil // who may only read needs no mark to do so
	}
	if err != nil {
		return err
	}
	found, err = b.readMark(ctx)
	b.learnMark(found)
	return err
}

func (b *Backend) learnMark(m *mark) {
	if m != nil && b.names.namespace != "" {
		b.extent.setBeginning(m.at)
	}
}

// openUnmarked is for a handle that must not write a mark. What other clients have
// filled can be read all the same; a namespace without a mark is a mistyped one.
func (b *Backend) openUnmarked() error {
	if b.names.namespace == "" {
		return nil
	}
	return &eventstore.InvalidError{Field: "server", Reason: fmt.Sprintf("it holds no store in namespace %q; check the name, or make one first (switchyard init)", b.names.namespace)}
}

// readMark returns the store's mark; nil where it has none.
func (b *Backend) readMark(ctx context.Context) (*mark, error) {
	stored, err := b.load(ctx, b.names.identity())
	if err != nil || stored.kind == "" {
		return nil, err
	}
	var data storedMark
	if err := json.Unmarshal(stored.data, &data); err != nil || data.ID == uuid.Nil {
		return nil, errors.New("the stream of the store's identity holds something else")
	}
	return &mark{id: data.ID, at: stored.position}, nil
}

// identity returns the store's identity, with a mark or without.
func (b *Backend) identity(ctx context.Context) (uuid.UUID, error) {
	mark, err := b.readMark(ctx)
	if err != nil {
		return uuid.Nil, err
	}
	if mark != nil {
		return mark.id, nil
	}
	return b.unmarked(ctx)
}

// writeMark makes the store, unless another process is first.
func (b *Backend) writeMark(ctx context.Context) error {
	fresh := storedMark{ID: uuid.New()}
	if b.names.namespace == "" {
		if unmarked, err := b.unmarked(ctx); err == nil {
			fresh.ID = unmarked // what was read without a mark keeps its identity
		}
	}
	data, err := json.Marshal(fresh)
	if err != nil {
		return fmt.Errorf("encode the mark: %w", err)
	}
	return b.save(ctx, b.names.identity(), func(stored record) (*record, error) {
		if stored.kind != "" {
			return nil, nil //nolint:nilnil // another process was first
		}
		return &record{kind: kindIdentity, json: true, data: data}, nil
	})
}

// unmarked returns the identity of a store without a mark: it follows from the
// server's first record, and from the namespace.
func (b *Backend) unmarked(ctx context.Context) (uuid.UUID, error) {
	first, err := b.firstRecord(ctx)
	if err != nil {
		return uuid.Nil, fmt.Errorf("find an identity for a store without a mark: %w", err)
	}
	if first == nil {
		return uuid.Nil, fmt.Errorf("%w: its log has no record", errContradiction)
	}
	return uuid.NewSHA1(first.id, []byte(b.names.namespace)), nil
}
