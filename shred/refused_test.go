package shred_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/shred"
)

func TestASubjectThatIsNoTextIsRefused(t *testing.T) {
	v := ada
	v.Customer = "c-\xff"
	_, err := customers(new(shred.MemoryKeys)).Encode(t.Context(), uuid.Nil, v)
	require.ErrorIs(t, err, eventstore.ErrInvalid, "its JSON would name c-\ufffd, which has no key")
	require.ErrorContains(t, err, `subject: "c-\xff" is no UTF-8`)
}

// ownJSON has a JSON form that its Go fields do not tell.
type ownJSON struct{ Who, Mail string }

func (o ownJSON) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"id": o.Who, "e-mail": o.Mail})
}

func (o *ownJSON) UnmarshalJSON(data []byte) error {
	var members map[string]string
	err := json.Unmarshal(data, &members)
	o.Who, o.Mail = members["id"], members["e-mail"]
	return err
}

// onlyWrites has names of its own in what it writes.
type onlyWrites struct{ Mail string }

func (o onlyWrites) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"e-mail": o.Mail})
}

func sealing[T any](t *testing.T, v T, fields ...string) (*codec.Codec[T], eventstore.Event, error) {
	t.Helper()
	c := codec.Must(codec.New[T](nil, codec.Of[T]("T", codec.Through(shred.Fields(new(shred.MemoryKeys), func(T) string { return "c-7" }, fields...)))))
	event, err := c.Encode(t.Context(), uuid.Nil, v)
	return c, event, err
}

// sealed checks that a value is encrypted and opened.
func sealed[T any](t *testing.T, v T, fields ...string) {
	t.Helper()
	c, event, err := sealing(t, v, fields...)
	require.NoError(t, err)
	require.NotContains(t, string(event.Data), "ada@example.com")
	opened, err := decode(t, c, event)
	require.NoError(t, err)
	require.Equal(t, v, opened)
}

// refused checks that a value is not stored in clear because a field is not there.
func refused[T any](t *testing.T, v T, fields ...string) {
	t.Helper()
	_, _, err := sealing(t, v, fields...)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, "has no field")
}

func TestAMisspeltFieldIsRefusedWhateverTheTypeIs(t *testing.T) {
	refused(t, Registered{Customer: "c-7", Email: "ada@example.com"}, "emial")
	refused(t, ownJSON{Who: "c-7", Mail: "ada@example.com"}, "mail")
	refused(t, &ownJSON{Who: "c-7", Mail: "ada@example.com"}, "mail")
	refused(t, onlyWrites{Mail: "ada@example.com"}, "Mail")
	refused(t, map[string]any{"e-mail": "ada@example.com"}, "email")
	refused(t, json.RawMessage(`{"e-mail":"ada@example.com"}`), "email")
	sealed(t, ownJSON{Who: "c-7", Mail: "ada@example.com"}, "e-mail")
	sealed(t, map[string]any{"id": "c-7", "e-mail": "ada@example.com", "phone": nil}, "e-mail", "phone")
}

func TestAFieldMayBeAbsentWhereItsTypeTellsThatItIsThere(t *testing.T) {
	type optional struct {
		Mail string `json:"mail,omitempty"`
	}
	sealed(t, optional{}, "mail")
	sealed(t, &optional{}, "mail")
	refused(t, map[string]any{}, "mail")
}

// T and AB have the letters of TA and B.
func TestSealedDataIsHeldToItsTypeAndItsFieldEachAlone(t *testing.T) {
	type ab struct{ AB string }
	type b struct{ B string }
	keys := new(shred.MemoryKeys)
	first := codec.Must(codec.New[ab](nil, codec.Of[ab]("T", codec.Through(shred.Fields(keys, func(ab) string { return "c-7" }, "AB")))))
	second := codec.Must(codec.New[b](nil, codec.Of[b]("TA", codec.Through(shred.Fields(keys, func(b) string { return "c-7" }, "B")))))
	event := encode(t, first, uuid.Nil, ab{"ada@example.com"})
	data, err := json.Marshal(map[string]json.RawMessage{"B": fields(t, event.Data)["AB"]})
	require.NoError(t, err)
	event.Type, event.Data = "TA", data
	_, err = decode(t, second, event)
	require.ErrorIs(t, err, shred.ErrNotAuthentic)
}

func TestAnAnswerOutlivesTheOneBeforeItOfTheSameSubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, below := t.Context(), &counted{KeyStore: new(shred.MemoryKeys)}
		cache := shred.NewCache(below, &shred.CacheOptions{TTL: time.Minute})
		_, err := cache.Key(ctx, "a", true)
		require.NoError(t, err)
		require.NoError(t, cache.Delete(ctx, "a"))
		<-time.After(30 * time.Second)
		_, err = cache.Key(ctx, "a", true)
		require.ErrorIs(t, err, shred.ErrShredded)
		<-time.After(40 * time.Second) // the first answer's time is over
		_, err = cache.Key(ctx, "b", true)
		require.NoError(t, err)
		asked := below.asked
		_, err = cache.Key(ctx, "a", true)
		require.ErrorIs(t, err, shred.ErrShredded)
		require.Equal(t, asked, below.asked)
	})
}
