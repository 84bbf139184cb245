// Package ownertest is the test of a subscription's owners as processes of their own:
// they are killed, paused and cut off, and the next one takes over. It is for backends
// that are reached over a network.
//
// A test binary plays the owners itself. Its TestMain calls [Play] where [Part] says
// so, and the test calls [TakeOvers].
package ownertest
