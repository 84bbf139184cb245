// Package relaytest checks what a relay has delivered, as its consumers see it: it
// knows CloudEvents, and none of the code that writes them.
package relaytest
