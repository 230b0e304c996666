//go:build e2e

package main

import (
	"context"
	"testing"
	"time"
)

// TestCluster: what "make run-cluster" shows is as it says.
func TestCluster(t *testing.T) {
	t.Setenv("RUN_ONCE", "1")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := runCluster(ctx); err != nil {
		t.Fatal(err)
	}
}
