package etcd

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// TestQuota reads the quota from the metrics of a member. What is not a quota is none, and no member is asked again at once.
func TestQuota(t *testing.T) {
	for name, test := range map[string]struct {
		status  int
		metrics string
		want    int64
	}{
		"etcd 3.5":     {200, "# TYPE etcd_server_quota_backend_bytes gauge\netcd_server_quota_backend_bytes 4.294967296e+09\nother 1\n", 4 << 30},
		"not there":    {200, "etcd_server_quota_backend_bytes_total 1\n", 0},
		"no number":    {200, "etcd_server_quota_backend_bytes many\n", 0},
		"too many":     {200, "etcd_server_quota_backend_bytes 1e30\n", 0},
		"negative":     {200, "etcd_server_quota_backend_bytes -1\n", 0},
		"forbidden":    {403, "etcd_server_quota_backend_bytes 5\n", 0},
		"without end":  {200, strings.Repeat("x 1\n", maxMetrics/4) + "etcd_server_quota_backend_bytes 5\n", 0},
		"a long line":  {200, strings.Repeat("x", 1<<20) + "\n", 0},
		"nothing more": {200, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/metrics" {
					return // what a connection of the client asks is no matter
				}
				asked.Add(1)
				w.WriteHeader(test.status)
				fmt.Fprint(w, test.metrics)
			}))
			defer server.Close()
			c, err := Open(Options{Endpoints: []string{server.URL + "/"}, Server: "ns1"})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for range 2 {
				if got := c.quota(context.Background(), c.members.all[0]); got != test.want {
					t.Errorf("quota %d, want %d", got, test.want)
				}
			}
			if n := asked.Load(); n != 1 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}
