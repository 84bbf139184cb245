// Package fold decides what a log of proposals means. Kafka has no conditional
// append, so each append to a store is a proposal, and whether it is accepted is
// a pure function of the log before it, which every process computes alike: no
// clock, no configuration and no I/O take part. The package knows nothing of
// Kafka; it takes offsets and bytes.
//
// A record is one request and one frame:
//
//	u8 0x5D | u8 format = 1 | u8 kind | 16 request ID | … | u32 CRC-32C of all before
//	1 genesis   16 store ID | uvarint rules = 1
//	2 append    i64 time | uvarint seal epoch | uvarint parts ≥ 1, each:
//	              text stream | u8 1 any, 2 exists, 3 exactly + uvarint version
//	              u8 flags: 1 = i64 record time follows, 2 = was a repetition when sent
//	              uvarint events, each: 16 ID | text type | text content type |
//	                uvarint n, n × (text key, text value), keys ascending | text data
//	3 seal      i64 time | uvarint seal epoch | text reason
//	4 unseal    i64 time | uvarint seal epoch
//	5 lease     i64 time | text name | uvarint epoch | uvarint length in ns | text owner
//
// Integers are big-endian, times are nanoseconds since 1970 by the writer's
// clock, a text is a uvarint length and bytes. There is one encoding of each
// value. The magic byte, the format, the kind and the checksum stay where they
// are in every format to come.
//
// The rules, for a record at an offset:
//
//   - What is no frame, or a malformed one, is ignored and counted. A sound frame
//     of a higher format or an unknown kind halts the fold: who passed over it
//     would come to other verdicts than those who understand it.
//   - The record at offset 0 is the genesis, or the log is no store. Later ones
//     are those of processes that lost the race to make the store: ignored.
//   - An append is judged by [Judge], against the log before it. Of the parts that
//     were no repetition when it was sent, all or none may be one now (the mixed
//     rule), and it must carry the number of seals before it (the seal epoch
//     rule). Any part refused refuses all of it; otherwise the parts that are no
//     repetition are stored.
//   - A seal is accepted in an unsealed store, an unseal in a sealed one, if it
//     carries the number of seals before it; a lease if its epoch is that of the
//     last accepted lease of its name, plus one.
//
// A record may be in the log twice: a produce whose acknowledgement was lost may
// land again, at any time. So a refusal must hold for ever, or "conflict" was a
// lie. Versions only grow and event IDs never leave; what is left is an
// expectation that is not reached yet. Hence the rule for writers, which
// [State.Check] applies: a request whose expectations its writer has not seen
// reached or passed is never sent. The mixed rule closes the case of several
// parts, where a refused part could become a repetition by another append and so
// let a late copy write the others; the epochs do the same for seals and leases.
package fold
