// Package kurrentclient proves that an application can use KurrentDB's own Go
// client beside Switchyard. Protocol buffers register their files under global
// names while a program starts, and one that links two files of one name ends
// there, before main. It is a module of its own, so that no application's module
// graph has that client because of this test.
package kurrentclient
