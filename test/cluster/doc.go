// Package cluster has the tests of zones on etcd: three servers as processes, three members of etcd, a link that fails
// between each server and each member, and clients that send signed updates to any of them.
//
// What the servers answer at once has to be what one server could have answered; that is what package linearizable finds
// out. Nothing acknowledged may be lost or done twice, and all servers have to end equal, with equal histories.
//
// The tests have the build tag e2e, as those of test/e2e. CLUSTER_SOAK, a duration such as 1h, has TestFaults go on with
// faults at random for that long.
package cluster
