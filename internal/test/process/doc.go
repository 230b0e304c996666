// Package process runs the programs that the end-to-end tests need (a KDC, a name server, a client), so that none of
// them outlives the test and so that a test can wait for what a program says instead of for a time to pass.
package process
