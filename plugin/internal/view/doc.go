// Package view has the forms in which a running server shows itself: on the control socket, on the status page, and in the
// output of commands with -o json. Names of JSON fields stay; fields may be added. Times are in UTC. Names are in presentation
// form, absolute and in lower case; rdata is in the form of master files. No field has a key or another secret.
package view
