package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Sentinel errors, to be compared with [errors.Is], beside those of package store.
var (
	// ErrUnreachable means that no member answered in time, or none that has a leader.
	ErrUnreachable = errors.New("store: etcd is out of reach")
	// ErrNoSpace means that etcd's database has reached its quota, and etcd takes no writes.
	ErrNoSpace = errors.New("store: etcd has no space left")
	// ErrNameTaken means that another server has the same name.
	ErrNameTaken = errors.New("store: etcd: another server has the name of this one")
	// ErrDamaged means that a key has a value that no server writes. It is store.ErrUnreadable.
	ErrDamaged = fmt.Errorf("%w: etcd holds a value that is not valid", store.ErrUnreadable)
)

// code is the code of an error of etcd's client.
func code(err error) codes.Code {
	var known rpctypes.EtcdError
	if errors.As(err, &known) {
		return known.Code()
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	}
	return status.Code(err)
}

// refused reports whether the error is an answer that says that the request was not done. After other errors it
// may have been done, or may be later.
func refused(err error) bool {
	switch code(err) {
	case codes.InvalidArgument, codes.ResourceExhausted, codes.PermissionDenied, codes.Unauthenticated, codes.NotFound,
		codes.FailedPrecondition, codes.OutOfRange, codes.Unimplemented:
		return true
	}
	return false
}

// transient reports whether the same request may be done after it was refused: etcd is busy, or the token was
// replaced.
func transient(err error) bool {
	return errors.Is(err, rpctypes.ErrTooManyRequests) || errors.Is(err, rpctypes.ErrInvalidAuthToken) ||
		errors.Is(err, rpctypes.ErrAuthOldRevision)
}

// explain adds what an administrator can do about an error.
func (c *Cluster) explain(err error) error {
	switch {
	case err == nil || errors.Is(err, ErrUnreachable) || errors.Is(err, ErrNoSpace):
		return err
	case errors.Is(err, rpctypes.ErrNoSpace):
		return diagnose.WithFix(fmt.Errorf("%w: %w", ErrNoSpace, err),
			"compact and defragment etcd, or raise --quota-backend-bytes, then run etcdctl alarm disarm")
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return diagnose.WithFix(fmt.Errorf("store: etcd: user %q: %w", c.options.Username, err),
			"grant the user's role readwrite on the prefix %s", c.options.Prefix)
	case errors.Is(err, rpctypes.ErrUserEmpty):
		return diagnose.WithFix(fmt.Errorf("store: etcd: %w", err), "the cluster asks for credentials: configure a user name and a password")
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return diagnose.WithFix(fmt.Errorf("store: etcd: user %q: %w", c.options.Username, err), "correct the user name or the password")
	case refused(err):
		return fmt.Errorf("store: etcd: %w", err)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// damaged tells of a value that cannot be decoded.
func damaged(key string, err error) error {
	return diagnose.WithFix(fmt.Errorf("%w: key %q %w", ErrDamaged, key, err),
		"find out who else writes there; bring the zone back from a backup of etcd, or migrate a database that still has it")
}
