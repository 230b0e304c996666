// Package diagnose describes what is right and wrong with a server, in words for its administrator. Start-up, the command
// check and the readiness report all describe what they found by a [Finding].
package diagnose
