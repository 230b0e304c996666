package msdnsp

import (
	"encoding/binary"
	"errors"
	"time"
)

// UpdateMode is which dynamic updates a zone takes ([MS-DNSP] 2.2.6.1.1).
type UpdateMode uint8

// The modes. A zone that nobody has set a mode for is UpdatesNotSet, such as those that Samba makes for a new domain's _msdcs: a
// server takes its own default then.
const (
	UpdatesNotSet UpdateMode = iota
	UpdatesNone
	UpdatesUnsecure
	UpdatesSecure
)

// Settings are those of a zone. The zero value is a zone without any.
type Settings struct {
	Updates UpdateMode
	// Aging tells whether stale records are removed. NoRefresh and Refresh are the intervals, also where it is off; 0 if they are
	// the server's defaults.
	Aging              bool
	NoRefresh, Refresh time.Duration
}

// ErrProperty means that octets are no value of dnsProperty.
var ErrProperty = errors.New("malformed dnsProperty value")

const (
	propertyHead    = 20
	propertyVersion = 1

	propertyUpdates   = 0x02
	propertyNoRefresh = 0x10
	propertyRefresh   = 0x20
	propertyAging     = 0x40

	// maxHours bounds intervals to a century: a time.Duration does not hold all hours of 32 bits.
	maxHours = 100 * 366 * 24
)

// Add takes a value of dnsProperty in ([MS-DNSP] 2.3.2.1). Those that say other things are passed over.
func (s *Settings) Add(value []byte) error {
	if len(value) < propertyHead || binary.LittleEndian.Uint32(value[12:]) != propertyVersion {
		return ErrProperty
	}
	length := binary.LittleEndian.Uint32(value)
	if uint64(length) > uint64(len(value)-propertyHead) {
		return ErrProperty
	}
	data := value[propertyHead : propertyHead+int(length)]
	var number uint32
	switch {
	case len(data) >= 4:
		number = binary.LittleEndian.Uint32(data)
	case len(data) >= 1:
		number = uint32(data[0])
	default:
		return nil // the server's default
	}
	hours := time.Duration(min(number, maxHours)) * time.Hour
	switch binary.LittleEndian.Uint32(value[16:]) {
	case propertyUpdates:
		const off = UpdatesNone // its number is 0
		if number > uint32(UpdatesSecure-off) {
			return ErrProperty
		}
		s.Updates = UpdateMode(number) + off
	case propertyNoRefresh:
		s.NoRefresh = hours
	case propertyRefresh:
		s.Refresh = hours
	case propertyAging:
		s.Aging = number != 0
	}
	return nil
}
