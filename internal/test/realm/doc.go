// Package realm runs a throw-away Kerberos realm on MIT's KDC: on a free port of 127.0.0.1, in a temporary directory,
// without root, without touching /etc, and gone when it is stopped or when this process ends.
//
// A Realm makes principals (with the keys of chosen encryption types), keytabs, krb5.conf files that permit chosen
// encryption types, and credential caches. What encryption types a service ticket has is decided in two places, and a
// test chooses each:
//
//   - The ticket is encrypted in the service's key: make the service with [Realm.AddPrincipal] and one encryption type.
//   - The session key is of a type that the client's krb5.conf permits: name it to [Realm.CCache] and [Realm.Env].
//
// MIT's KDC would not issue a session key of a type that the service has no key of (RFC 4120 leaves this to it);
// principals made here carry the attribute that tells it that every type will do.
package realm
