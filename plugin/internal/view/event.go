package view

import "time"

// Recent is what happened lately at a server, as far as it is kept: of each client the last events, and of all clients those
// that were heard of last. Everything is in the order of time, the newest first.
type Recent struct {
	Refused    []RefusedClient `json:"refused"`    // clients whose updates were not applied
	Unsigned   []RefusedClient `json:"unsigned"`   // clients whose updates were refused for want of a signature alone
	Handshakes []FailedClient  `json:"handshakes"` // clients whose handshakes failed
	Signatures []FailedClient  `json:"signatures"` // clients whose signatures do not verify
	Changes    []Change        `json:"changes"`
}

// RefusedClient is one client whose updates were refused or failed.
type RefusedClient struct {
	// Client is the identity of a client that signed, and the address or the IPv6 network of any other.
	Client   string    `json:"client"`
	Count    int       `json:"count"` // of all refusals, those that are not listed included
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Refusals []Refusal `json:"refusals"`
}

// FailedClient is one client that failed to authenticate.
type FailedClient struct {
	Client   string             `json:"client"` // address, or IPv6 network
	Count    int                `json:"count"`  // of all failures, those that are not listed included
	First    time.Time          `json:"first"`
	Last     time.Time          `json:"last"`
	Failures []HandshakeFailure `json:"failures"`
}

// Point is how many updates of a zone were applied and refused in a quarter of an hour.
type Point struct {
	Start   time.Time `json:"start"`
	Applied int       `json:"applied"`
	Refused int       `json:"refused"`
}

// Decision is whether an update is permitted.
type Decision struct {
	Permitted bool     `json:"permitted"`
	Identity  string   `json:"identity"`
	Update    string   `json:"update"`
	Rule      string   `json:"rule,omitempty"`
	Reason    string   `json:"reason,omitempty"`
	Cause     string   `json:"cause,omitempty"` // of a refusal, in a word
	Fix       string   `json:"fix,omitempty"`
	Notes     []string `json:"notes,omitempty"`
}
