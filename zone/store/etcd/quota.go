package etcd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// quotaMetric is what etcd calls the quota of its database among its metrics: before 3.6 it tells it nowhere else.
const quotaMetric = "etcd_server_quota_backend_bytes"

const (
	// quotaAge is for how long what was read from the metrics is used: it changes with a restart of the member only.
	quotaAge = time.Minute
	// maxMetrics bounds what is read of a member's metrics.
	maxMetrics = 4 << 20
)

// quota returns how many octets the database of a member may have, 0 if it does not tell.
func (c *Cluster) quota(ctx context.Context, x *member) int64 {
	x.mu.Lock()
	quota, read := x.quota, x.quotaRead
	x.mu.Unlock()
	if !read.IsZero() && time.Since(read) < quotaAge {
		return quota
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	// Without an answer it is not known. Nothing else depends on it.
	quota, _ = c.readQuota(ctx, x.endpoint)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.quota, x.quotaRead = quota, time.Now()
	return quota
}

// readQuota reads the quota from the metrics, which a member has at its endpoint for those whose certificate it accepts.
func (c *Cluster) readQuota(ctx context.Context, endpoint string) (int64, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	if c.options.TLS != nil {
		transport.TLSClientConfig = c.options.TLS.Clone()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(endpoint, "/")+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", request.URL, answer.Status)
	}
	lines := bufio.NewScanner(io.LimitReader(answer.Body, maxMetrics))
	for lines.Scan() {
		if value, found := strings.CutPrefix(lines.Text(), quotaMetric+" "); found {
			quota, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || quota < 0 || quota >= 1<<62 {
				return 0, fmt.Errorf("%s: %s is %q", request.URL, quotaMetric, value)
			}
			return int64(quota), nil
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("%s: %s is not there", request.URL, quotaMetric)
}
