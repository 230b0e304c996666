// Package masterfile reads and writes DNS master files (RFC 1035 section 5).
// It takes what BIND 9.18's named-compilezone takes, and reports the file, the
// line and the reason of what it refuses.
//
// A [Reader] is a stream: it holds one record at a time, so that the size of a
// file does not matter. It knows $ORIGIN, $INCLUDE, $TTL (RFC 2308 section 4),
// and BIND's $GENERATE and $DATE. What a zone may hold is not its business:
// records outside the zone, a second SOA or duplicates are passed on.
//
// # What is trusted
//
// Nothing in the file is. The text of a record, the depth and the number of
// $INCLUDE, and the records that $GENERATE makes are bounded. A file is opened
// only by the function that the caller gives, and without one $INCLUDE is an
// error.
//
// # Annotations
//
// A backup says more than a master file has a place for, such as the owner of
// a name. Such facts stand in annotations, which are comments for every other
// reader:
//
//	;gsstsig: owner client1.example.test. "host/client1.example.test@EXAMPLE.TEST"
//
// An annotation counts only if its semicolon is the first octet of a line that
// begins outside of parentheses and quotes. Those of included files count too.
// The text of a record cannot forge
// one: a [Writer] puts each record on a line that begins with the owner name,
// and prints every control character, so every newline too, as an escape or in
// hexadecimal.
//
// # Differences from named-compilezone
//
// These are deliberate:
//
//   - The file name of $INCLUDE is relative to the directory of the file that
//     has the directive, not to the working directory.
//   - $GENERATE makes a bounded number of records, 1,048,576 in all, from a
//     bounded amount of text.
//   - A $GENERATE range with more behind it, such as 1-3x, is an error. BIND
//     ignores what follows a valid beginning.
//   - Records outside the zone are passed on. BIND leaves them out with a
//     warning; the zone of this server refuses them.
//   - A record keeps its own TTL. BIND gives an RRset one TTL while it reads,
//     and where there is no $TTL, a later record inherits that one.
//   - In rdata, a name or an address may be in quotes, and the target of a URI
//     record without. BIND refuses both.
//   - A directive may end the file without a newline. BIND takes that for a
//     second word.
//   - MD and MF are taken where the type is written TYPE3 or TYPE4: a zone can
//     have them by a dynamic update, and its backup must be read. BIND refuses
//     them in every form.
//   - CLASS0 is an error. BIND takes it for IN.
//   - A UTF-8 byte order mark is an error that says so. So are files of other
//     kinds, such as BIND's raw format, in place of an error in each line.
package masterfile
