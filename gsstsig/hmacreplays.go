package gsstsig

import (
	"errors"
	"slices"
	"sync"

	"github.com/gsstsig/coredns-gsstsig/internal/timespans"
)

// defaultHMACReplays is how many updates of one key are remembered where no
// number is given: half a minute of 1,000 a second, or five minutes of 100.
const defaultHMACReplays = 1 << 15

// HMACReplays remembers the updates that were signed with static keys, so that
// none is accepted twice within its fudge (RFC 8945 section 5.2.3). It keeps the
// time signed and the MAC of each for as long as its time is good. Where it has no
// room for all of a key, it drops the oldest and refuses what was signed in the time
// of these. A clock that was ahead, and was set back, leaves only the time in which
// it was ahead to be refused. Only updates count: a query may be sent again.
//
// It is bounded for each key, and the keys are those of the configuration. Share
// one between all authenticators of a process, over reloads, too. It is safe for
// concurrent use. It begins empty: an update from before the start of the process
// can be sent again within its fudge.
type HMACReplays struct {
	max  int
	mu   sync.Mutex
	keys map[string]*hmacTimes // by name on the wire
}

// NewHMACReplays returns a memory for max updates of each key; 0 means 32,768.
func NewHMACReplays(max int) *HMACReplays {
	if max <= 0 {
		max = defaultHMACReplays
	}
	return &HMACReplays{max: max, keys: make(map[string]*hmacTimes)}
}

// hmacTimes are the updates of one key.
type hmacTimes struct {
	seconds map[uint64]*hmacSecond // by time signed
	count   int                    // MACs in all of them
	dropped timespans.Spans        // the seconds of which some were dropped
	swept   uint64                 // the time of the last sweep
}

// hmacSecond is the updates that were signed in one second.
type hmacSecond struct {
	macs  map[macPrefix]struct{}
	until uint64 // the last second in which one of them is good
}

// macPrefix is the beginning of a MAC, long enough that two updates do not share it.
type macPrefix [16]byte

// Why an update is not taken.
var (
	errHMACReplay = errors.New("the message was seen before")
	errHMACTime   = errors.New("the message was signed at the time of others of the key that are no longer remembered")
)

// add records an update whose MAC and time are right, unless it was recorded before
// or may have been.
func (h *HMACReplays) add(key string, signed, fudge, now uint64, mac []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	times := h.keys[key]
	if times == nil {
		times = &hmacTimes{seconds: make(map[uint64]*hmacSecond)}
		h.keys[key] = times
	}
	times.sweep(now)
	if times.dropped.Has(int64(signed)) {
		return errHMACTime
	}
	second := times.seconds[signed]
	if second == nil {
		second = &hmacSecond{macs: make(map[macPrefix]struct{})}
		times.seconds[signed] = second
	}
	var prefix macPrefix
	copy(prefix[:], mac)
	if _, ok := second.macs[prefix]; ok {
		return errHMACReplay
	}
	second.macs[prefix] = struct{}{}
	second.until = max(second.until, signed+fudge)
	if times.count++; times.count > h.max {
		times.shrink(h.max)
	}
	return nil
}

// sweep drops what is past its time, once a second.
func (t *hmacTimes) sweep(now uint64) {
	if now == t.swept {
		return
	}
	t.swept = now
	for signed, second := range t.seconds {
		if second.until < now {
			t.drop(signed)
		}
	}
}

// shrink drops the oldest seconds until an eighth of the room is free.
func (t *hmacTimes) shrink(room int) {
	seconds := make([]uint64, 0, len(t.seconds))
	for signed := range t.seconds {
		seconds = append(seconds, signed)
	}
	slices.Sort(seconds)
	for _, signed := range seconds {
		if t.count <= room-room/8 {
			return
		}
		t.drop(signed)
	}
}

func (t *hmacTimes) drop(signed uint64) {
	t.count -= len(t.seconds[signed].macs)
	delete(t.seconds, signed)
	t.dropped.Add(int64(signed)) // a time of TSIG has 48 bits
}
