// Package shred encrypts personal data in events, each person's with a key of their
// own, so that deleting the key erases the data and leaves the streams whole.
//
// [Fields] is a filter for a type of a codec. The named fields of its JSON are stored
// encrypted; whoever reads the events through the codec sees them as they were:
//
//	codec.Of[Registered]("CustomerRegistered",
//		codec.Through(shred.Fields(keys, func(e Registered) string { return e.Customer }, "name", "email")))
//
// After [KeyStore].Delete the fields are absent: code that adds events up sees zero
// values in their place. Events, versions and positions stay as they are.
//
// The keys are in a [KeyStore] of the application's, apart from the events: a table
// with two columns will do, which the package's example is, and must have backups of
// its own. A key that is lost erases what it sealed.
//
// # What is stored
//
// A sealed field is {"$sealed":SUBJECT,"text":TEXT}. The text is the field's JSON,
// encrypted with AES-256-GCM and authenticated together with the event's ID and type,
// the field's name and the subject: sealed data that is moved to another place is
// refused. It is the same text whenever the same event is sealed, so an append that is
// repeated is recognised by its content. The subject stays readable for ever, and so
// does the length of each field: the subject is to be an identifier that says nothing
// once the rest is gone, and no e-mail address.
//
// # What deletion does not reach
//
//   - snapshots of states that hold the data: delete them too, with
//     [eventstore.Store.DeleteSnapshot];
//   - states that a decider keeps in memory, until they are evicted or the process
//     ends;
//   - read models and whatever else was made from the opened events: a reaction to
//     the deletion's own event is the place to clear them;
//   - what a relay published after decoding it. relay.FromEvent publishes events as
//     they are stored, which is sealed;
//   - keys that other processes hold in a [Cache], until they expire;
//   - backups of the keys, until they are destroyed too;
//   - events that were stored before their type had the filter, and fields that the
//     filter does not name;
//   - metadata: no filter of this package encrypts it.
package shred
