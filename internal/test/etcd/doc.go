// Package etcd runs a cluster of etcd servers on 127.0.0.1. Its members are processes, which a test kills, pauses and
// starts again.
package etcd
