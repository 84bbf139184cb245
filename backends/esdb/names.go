package esdb

import (
	"fmt"
	"strings"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// ownPrefix begins the streams that this package keeps for itself. It does not
// begin with '$', because a secured server lets only administrators write those.
const ownPrefix = "switchyard:"

// testPrefix begins the namespaces that package esdbharness makes. A store without
// a namespace is all of the server, but what is tested there is none of its events.
const testPrefix = "switchyard-test-"

// reserved tells whether a stream of the server belongs to this package.
func reserved(name string) bool {
	return strings.HasPrefix(name, ownPrefix) || strings.HasPrefix(name, testPrefix)
}

// names maps stream IDs to the server's streams. A namespace is a prefix that
// callers never see; it ends at a colon, which no namespace contains, so that no
// namespace is the beginning of another.
type names struct{ namespace string }

const maxNamespaceBytes = 64

func newNames(namespace string) (names, error) {
	if namespace == "" {
		return names{}, nil
	}
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
	if len(namespace) > maxNamespaceBytes || strings.ContainsFunc(namespace, func(r rune) bool { return !strings.ContainsRune(allowed, r) }) || namespace+":" == ownPrefix {
		return names{}, &eventstore.InvalidError{
			Field:  "namespace",
			Reason: fmt.Sprintf("%q; give 1 to 64 letters, digits, '_', '.' or '-', and not %q", namespace, strings.TrimSuffix(ownPrefix, ":")),
		}
	}
	return names{namespace}, nil
}

// prefix begins every stream of the store; it is empty without a namespace.
func (n names) prefix() string {
	if n.namespace == "" {
		return ""
	}
	return n.namespace + ":"
}

// readable returns the server's name of a stream.
func (n names) readable(stream string) (string, error) {
	name := n.prefix() + stream
	if n.namespace == "" && reserved(name) {
		return "", &eventstore.InvalidError{Field: "stream", Reason: fmt.Sprintf("%q starts as what this backend keeps for itself does (%q, %q); choose another name", stream, ownPrefix, testPrefix)}
	}
	return name, nil
}

// writable is readable, and refuses the server's own streams.
func (n names) writable(stream string) (string, error) {
	name, err := n.readable(stream)
	if err == nil && strings.HasPrefix(name, "$") {
		err = &eventstore.InvalidError{Field: "stream", Reason: fmt.Sprintf("%q starts with '$', which EventStoreDB keeps for itself; choose another name or open the store with a namespace", stream)}
	}
	return name, err
}

// visible returns the stream ID of a stream of the server, and whether the store
// has it: the server's own streams and this package's are hidden, and from a
// namespace all others.
func (n names) visible(name string) (string, bool) {
	if n.namespace != "" {
		return strings.CutPrefix(name, n.prefix())
	}
	return name, !strings.HasPrefix(name, "$") && !reserved(name)
}

// ownAll begins the streams that this package keeps for this store.
func (n names) ownAll() string { return ownPrefix + n.namespace + ":" }

func (n names) identity() string { return n.ownAll() + "identity" }

func (n names) checkpoint(name string) string { return n.ownAll() + "checkpoint:" + name }

// snapshot has the type's length before it, so that no two pairs share a name.
func (n names) snapshot(stream, snapshotType string) string {
	return fmt.Sprintf("%ssnapshot:%d:%s:%s", n.ownAll(), len(snapshotType), snapshotType, stream)
}

// checkpoints is the stream of the names that checkpoints were ever saved under:
// listing them reads no more than that.
func (n names) checkpoints() string { return n.ownAll() + "checkpoints" }
