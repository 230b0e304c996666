package listener

import "sync/atomic"

// semaphore lets a number of goroutines work at a time, and a number of others wait.
type semaphore struct {
	slots   chan struct{} // holds one for each goroutine that works
	waiting atomic.Int64
	queue   int64 // how many may wait
}

func newSemaphore(slots, queue int) *semaphore {
	return &semaphore{slots: make(chan struct{}, slots), queue: int64(queue)}
}

// acquire waits for a slot. It reports false at once if too many wait already. Otherwise release must follow.
func (s *semaphore) acquire() bool {
	select {
	case s.slots <- struct{}{}:
		return true
	default:
	}
	if s.waiting.Add(1) > s.queue {
		s.waiting.Add(-1)
		return false
	}
	s.slots <- struct{}{}
	s.waiting.Add(-1)
	return true
}

func (s *semaphore) release() { <-s.slots }
