// Package transcript keeps what a client and the server said to each other, octet by octet, as a text that can be read and
// compared: the end-to-end tests record it from real clients, and a test that needs none of them replays it.
//
// A transcript has all that a replay takes: the server's keytab and configuration, what was in its zones before, and what
// is in them afterwards. Two things a server adds of its own, and a replay has to give it the same again. One is the time,
// which is in its signatures. The other is what it draws at random in a handshake: its subkey and the rest are in the
// AP-REP, encrypted for the client, and Random takes them out of there with the keytab. So the server that is recorded is
// an ordinary one, without any hook for the recording.
//
// The keys in transcripts are those of realms that no longer exist.
package transcript
