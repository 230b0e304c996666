// Package node makes machines out of namespaces, so that programs which insist on being a machine's only one of their
// kind (a domain controller, SSSD, a DNS server on port 53) run beside each other, several times, and leave the machine
// that they run on as it was.
//
// A [Node] has a network, process, mount, IPC and UTS namespace of its own: its own addresses on the [Network]'s bridge,
// its own host name, /run, and its own /etc and /var, which start as the machine's and take writes into memory only. So
// has /usr, if the node is to have programs of its own; else it shares /usr, and thus the installed packages. It shares
// /tmp; its programs have TMPDIR below /run.
//
// All that runs on a node ends with it, and every node ends with the process that made it, however that ends: the kernel
// kills a PID namespace as a whole. It takes root, Linux, and iproute2.
package node
