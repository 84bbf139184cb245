// Package cloudevents writes CloudEvents 1.0 in their JSON format, attribute by
// attribute. It is the one encoder of what is exported to files and of what a relay
// publishes.
//
// An attribute is text: CloudEvents have no integers above 32 bits, so versions and
// positions are text too. What is written is one line, and holds no control
// character, no bidirectional override and nothing that is not shown, so it is safe
// on a terminal.
package cloudevents
