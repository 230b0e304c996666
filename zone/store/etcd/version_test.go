package etcd

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

func TestVersion(t *testing.T) {
	for version, want := range map[string]bool{
		"3.5.14": true, "3.5.21": true, "3.6.0": true, "3.6.0-rc.1": true, "4.0.0": true, "3.10.0": true, "3.5.14+git": true,
		"3.5.13": false, "3.4.23": false, "2.99.99": false, "3.5.9": false,
	} {
		if err := checkVersion("x", version); (err == nil) != want || err != nil && !errors.Is(err, ErrVersion) {
			t.Errorf("%s: %v", version, err)
		}
	}
	for _, version := range []string{"", "3", "3.5", "3.5.x", "3.5.-1", "3.5.14.1", "99999999999.0.0"} {
		if err := checkVersion("x", version); err == nil || errors.Is(err, ErrVersion) {
			t.Errorf("%q: %v", version, err)
		}
	}
}

// oldServer is an etcd that tells its version and nothing else.
type oldServer struct {
	pb.UnimplementedMaintenanceServer
}

func (oldServer) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	return &pb.StatusResponse{Version: "3.4.23"}, nil
}

// TestOldServer is refused before anything is read or written.
func TestOldServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterMaintenanceServer(server, oldServer{})
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		<-done
	}()
	c, err := Open(Options{Endpoints: []string{"http://" + listener.Addr().String()}, Server: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	z, err := c.Zone("example.test.", ZoneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := z.Load(t.Context(), nil); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "Fix: upgrade etcd to 3.5.14") {
		t.Error(err)
	}
}
