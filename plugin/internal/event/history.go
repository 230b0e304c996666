package event

import "time"

const (
	// HistoryStep is the time of one [Point].
	HistoryStep = 15 * time.Minute
	points      = int(24 * time.Hour / HistoryStep)
)

// A History is 24 hours, the oldest point first. The last one is not over yet.
type History []Point

// A Point is how many updates were applied and refused in a time of [HistoryStep].
type Point struct {
	Start            time.Time
	Applied, Refused int
}

// history counts in a ring of points.
type history struct {
	ring [points]Point
}

func (h *history) add(now time.Time, applied bool) {
	p := h.at(now.Truncate(HistoryStep))
	if applied {
		p.Applied++
	} else {
		p.Refused++
	}
}

// at returns the point that begins then, with counts of zero if the ring had an older one in its place.
func (h *history) at(start time.Time) *Point {
	p := &h.ring[start.Unix()/int64(HistoryStep/time.Second)%int64(points)]
	if !p.Start.Equal(start) {
		*p = Point{Start: start}
	}
	return p
}

func (h *history) read(now time.Time) History {
	list := make(History, points)
	start := now.Truncate(HistoryStep).Add(-time.Duration(points-1) * HistoryStep)
	for i := range list {
		list[i] = *h.at(start)
		start = start.Add(HistoryStep)
	}
	return list
}
