// Package control is the way between a running server and the administrator's commands: HTTP with JSON over a unix socket.
// Whoever may open the socket may administer the server; it is the owner's alone (mode 0600) from the moment it exists. There are
// no passwords, and there is no TCP.
//
// An operation is a POST of its request to /v1/OPERATION. The answer is JSON; an operation that lists much answers with one JSON
// value a line. A failed operation has another status than 200, and an [Error].
package control
