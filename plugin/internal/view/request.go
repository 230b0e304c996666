package view

// StatusRequest asks for the status, of one zone alone if it is not empty.
type StatusRequest struct {
	Zone string `json:"zone,omitempty"`
}

// ZoneRequest names a zone.
type ZoneRequest struct {
	Zone string `json:"zone"`
}

// NamesRequest asks for names of a zone: one, or those of an owner, if these are not empty.
type NamesRequest struct {
	Zone  string `json:"zone"`
	Name  string `json:"name,omitempty"`
	Owner string `json:"owner,omitempty"`
}

// OwnRequest names a name and its future owner.
type OwnRequest struct {
	Name  string `json:"name"`
	Owner string `json:"owner"`
}

// NameRequest names a name.
type NameRequest struct {
	Name string `json:"name"`
}

// DropRequest names the contexts to drop, by a principal or a key.
type DropRequest struct {
	Word string `json:"word"`
}

// ChangesRequest asks for the log of a zone, back to the change after the serial From if it is not 0.
type ChangesRequest struct {
	Zone string `json:"zone"`
	From uint32 `json:"from,omitempty"`
}

// StaleRequest asks for the records that aging takes by the time in so many seconds. With intervals, in seconds, it is what aging
// with these would take.
type StaleRequest struct {
	Zone      string  `json:"zone"`
	In        uint32  `json:"in,omitempty"`
	NoRefresh *uint32 `json:"no_refresh,omitempty"`
	Refresh   *uint32 `json:"refresh,omitempty"`
}
