package gsstsig

// list is a doubly linked list of values that contain their own links, so that
// being in a list costs no allocation. The zero list is empty.
type list[T any] struct {
	first, last *link[T]
	size        int
}

// link is a value's place in one list. A value that is in several lists has a
// link for each. The zero link is in no list.
type link[T any] struct {
	before, after *link[T]
	value         *T // nil while it is in no list
}

// front returns the first value, nil if the list is empty.
func (l *list[T]) front() *T {
	if l.first == nil {
		return nil
	}
	return l.first.value
}

// pushBack adds a value at the end.
func (l *list[T]) pushBack(e *link[T], value *T) { l.insertAfter(l.last, e, value) }

// insertAfter adds a value after that of mark, at the front if mark is nil.
func (l *list[T]) insertAfter(mark, e *link[T], value *T) {
	e.value, e.before = value, mark
	if mark == nil {
		e.after, l.first = l.first, e
	} else {
		e.after, mark.after = mark.after, e
	}
	if e.after == nil {
		l.last = e
	} else {
		e.after.before = e
	}
	l.size++
}

// remove takes a value out.
func (l *list[T]) remove(e *link[T]) {
	if e.before == nil {
		l.first = e.after
	} else {
		e.before.after = e.after
	}
	if e.after == nil {
		l.last = e.before
	} else {
		e.after.before = e.before
	}
	*e = link[T]{}
	l.size--
}

// moveToBack makes a value the last.
func (l *list[T]) moveToBack(e *link[T]) {
	if e != l.last {
		value := e.value
		l.remove(e)
		l.pushBack(e, value)
	}
}
