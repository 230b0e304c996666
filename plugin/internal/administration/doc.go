// Package administration does what an administrator asks for with a zone: for the control socket of a running server, and for
// the commands on the databases of one that is stopped. Both decide by the same rules ("deny administrator …"), and every change
// is one transaction.
package administration
