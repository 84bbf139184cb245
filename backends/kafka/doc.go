// Package kafka keeps events in Apache Kafka. Kafka has no conditional append, so
// each append is a proposal to the one log of a store, a topic with one partition,
// and every process that has the store open folds that log and comes to the same
// verdict on each proposal (package fold). An append is answered by the fold of its
// own record, and by nothing else; no process owns the store, and no transaction
// takes part.
//
// What that costs stands first in the README beside this file: memory for every
// event, a start that reads the whole log or an index file, and one lane for all
// writers.
package kafka
