// Package pac reads the privilege attribute certificate (PAC) that Active
// Directory puts into tickets (MS-PAC), as far as it tells which account the
// client is and which groups it is in.
//
// # What a PAC is
//
// When a client logs on, its domain controller collects who it is: its
// security identifier (SID), its groups, and much else. That goes as a PAC
// into the authorization data of the ticket, wrapped in AD-IF-RELEVANT so that
// services which do not know it pass over it (RFC 4120, section 5.2.6.1).
//
// A PAC is a list of buffers (MS-PAC, section 2.3). Five matter here:
//
//   - The logon information (section 2.5) holds the SIDs. It is a structure in
//     NDR, the encoding of Microsoft's remote procedure calls, version 1
//     (MS-RPCE, section 2.2.6). PACs of MIT realms come without it.
//   - UPN_DNS_INFO (section 2.10) holds, in its extended form, the name and the SID
//     of the account. Domain controllers without the updates of November 2021
//     send the basic form; the logon information tells the account then.
//   - The client information (section 2.7) repeats the client's name and the
//     time of its authentication, which bind the PAC to its ticket.
//   - The server signature (section 2.8) is a checksum over the whole PAC, with
//     the signatures blanked, in the key of the service that the ticket is for.
//   - The KDC's signature (section 2.8) is one in the key of the KDC.
//
// # What is trusted
//
// [Open] has the server signature verified before it looks at anything but
// the list of buffers. That shows that its maker knows the
// service's key: the KDC, or the service itself. The signatures in the KDC's
// key (of the KDC, of the ticket and of the whole PAC; buffer types 7, 16 and
// 19) show that it was the KDC. They cannot be verified without that key and
// are not. They would matter where several programs share a service's key
// and do not trust each other: each could then make tickets, too.
//
// # Bounds
//
// A PAC has at most [MaxSize] octets, [MaxBuffers] buffers and [MaxGroups]
// groups. Counts in it are compared with the octets that are there before
// anything is allocated; what is allocated is a copy of the PAC and the
// groups. Nothing recurses.
package pac
