package shred

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"

	"github.com/google/uuid"
)

// ErrNotAuthentic says that sealed data was sealed with another key, was sealed for
// another event, type, field or subject, or is damaged.
var ErrNotAuthentic = errors.New("the sealed data is not authentic: it was sealed with another key or in another place, or is damaged")

// sealed is what stands in place of a field.
type sealed struct {
	Subject *string `json:"$sealed"`
	Text    *string `json:"text"`
}

// sealedIn returns the sealed data that a member is, where it is that.
func sealedIn(member json.RawMessage) (sealed, bool) {
	var s sealed
	if len(member) == 0 || member[0] != '{' || json.Unmarshal(member, &s) != nil {
		return sealed{}, false
	}
	return s, s.Subject != nil && s.Text != nil
}

// place is where sealed data belongs.
type place struct {
	id                        uuid.UUID
	eventType, field, subject string
}

// box seals and opens with a subject's key.
type box struct {
	aead     cipher.AEAD
	nonceKey []byte
}

// newBox derives two keys from the subject's: AES and HMAC share none.
func newBox(key Key) (box, error) {
	if key == (Key{}) {
		return box{}, errors.New("the key store gave an empty key and no error")
	}
	encryption, err := hkdf.Expand(sha256.New, key[:], "switchyard shred 1: encryption", 32)
	if err != nil {
		return box{}, err
	}
	nonceKey, err := hkdf.Expand(sha256.New, key[:], "switchyard shred 1: nonce", 32)
	if err != nil {
		return box{}, err
	}
	block, err := aes.NewCipher(encryption)
	if err != nil {
		return box{}, err
	}
	aead, err := cipher.NewGCM(block)
	return box{aead: aead, nonceKey: nonceKey}, err
}

// seal encrypts a field. The nonce is made from everything that is encrypted or
// authenticated: the same field of the same event gives the same text, and no two
// others share a nonce. An event's ID alone is not enough, for it is unique in its
// stream only.
func (b box) seal(at place, plain []byte) *string {
	where := at.bytes()
	mac := hmac.New(sha256.New, b.nonceKey)
	mac.Write(where)
	mac.Write(plain)
	nonce := mac.Sum(nil)[:b.aead.NonceSize()]
	return new(base64.StdEncoding.EncodeToString(b.aead.Seal(nonce, nonce, plain, where)))
}

func (b box) open(at place, text string) ([]byte, error) {
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(data) < b.aead.NonceSize() {
		return nil, ErrNotAuthentic
	}
	nonce, encrypted := data[:b.aead.NonceSize()], data[b.aead.NonceSize():]
	plain, err := b.aead.Open(nil, nonce, encrypted, at.bytes())
	if err != nil {
		return nil, ErrNotAuthentic
	}
	return plain, nil
}

// bytes frames each part with its length, so that no two places have the same.
func (p place) bytes() []byte {
	var framed []byte
	for _, part := range []string{string(p.id[:]), p.eventType, p.field, p.subject} {
		framed = binary.BigEndian.AppendUint64(framed, uint64(len(part)))
		framed = append(framed, part...)
	}
	return framed
}
