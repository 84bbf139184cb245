package shred_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/shred"
)

// oneKey is a key store with a key that is always the same.
type oneKey struct{ shred.KeyStore }

func (oneKey) Key(context.Context, string, bool) (key shred.Key, _ error) {
	for i := range key {
		key[i] = byte(i)
	}
	return key, nil
}

// What is stored has to be opened for as long as there is a key: the form stays as it is,
// or has to be told from this one. The texts were made by another program as well, from what
// the package says of them: HKDF, HMAC and AES-GCM of Python's cryptography.
func TestTheFormOfWhatIsSealedStays(t *testing.T) {
	const stored = `{"customer":"c-7","email":{"$sealed":"c-7","text":"Xe2XDyFsNFZpvFcEMh8zqLfi3mmx7UF7p/QO9iIEB43HAy7/smDwxDqkj2a1"},"name":{"$sealed":"c-7","text":"4odb1/Tv/6qK/kZ3hs7F+5fEuF8ap8RGpAdyVBQU57brj8mLstRd5SyAN0tHoOG3/2/FOPZEAQ=="}}`
	c := customers(oneKey{})
	event := encode(t, c, uuid.Max, Event(ada))
	require.JSONEq(t, stored, string(event.Data))
	event.Data = []byte(stored)
	v, err := decode(t, c, event)
	require.NoError(t, err)
	require.Equal(t, Event(ada), v)
	event.Data = []byte(strings.Replace(stored, "AQ==", "AR==", 1)) // other bits, of which no byte is made
	_, err = decode(t, c, event)
	require.ErrorIs(t, err, shred.ErrNotAuthentic)
}

// otherwise writes JSON under another name.
type otherwise struct{ codec.Encoding }

func (otherwise) ContentType() string { return "application/x-ours" }

func TestDataThatIsNotSaidToBeJSONIsRefused(t *testing.T) {
	filter := shred.Fields(oneKey{}, func(e Registered) string { return e.Customer }, "name")
	c := codec.Must(codec.New[Registered](&codec.Options{Encodings: []codec.Encoding{otherwise{codec.JSON()}}}, codec.Of[Registered]("CustomerRegistered", codec.Through(filter))))
	_, err := c.Encode(t.Context(), uuid.Nil, ada)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, "application/x-ours")
}
