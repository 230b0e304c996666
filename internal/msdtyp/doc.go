// Package msdtyp reads the data types of Windows that Active Directory keeps ([MS-DTYP]): security identifiers, and the owner of
// a security descriptor. Everything is bounds-checked; nothing is kept of what was read.
package msdtyp
