//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/loopback"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// images is where buildah keeps what the test makes, apart from this machine's own.
type images struct{ dir string }

func (i images) command(args ...string) *exec.Cmd {
	return exec.Command("buildah", append([]string{
		"--root", filepath.Join(i.dir, "root"), "--runroot", filepath.Join(i.dir, "run"), "--storage-driver", "vfs",
	}, args...)...)
}

// output is what a command of buildah prints, without the end of the line.
func (i images) output(t *testing.T, args ...string) string {
	t.Helper()
	var problems strings.Builder
	cmd := i.command(args...)
	cmd.Stderr = &problems
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, problems.String())
	}
	return strings.TrimSpace(string(output))
}

// build makes the image of coredns-build/Dockerfile, with the binary as it is delivered.
func (i images) build(ctx context.Context, t *testing.T) string {
	t.Helper()
	source, top := t.TempDir(), filepath.Join("..", "..")
	binary, err := server.BuildRelease(ctx, source)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(binary, filepath.Join(source, "coredns")); err != nil {
		t.Fatal(err)
	}
	return i.output(t, "build", "--quiet", "--isolation", "chroot", "--ignorefile", filepath.Join(top, ".dockerignore"),
		"--file", filepath.Join(top, "coredns-build", "Dockerfile"), source)
}

// imageConfig is what an image says of how to run it.
type imageConfig struct {
	User         string
	Entrypoint   []string
	Cmd          []string
	ExposedPorts map[string]struct{}
}

func (i images) config(t *testing.T, image string) imageConfig {
	t.Helper()
	var described struct {
		OCIv1 struct {
			Config imageConfig `json:"config"`
		}
	}
	if err := json.Unmarshal([]byte(i.output(t, "inspect", "--type", "image", image)), &described); err != nil {
		t.Fatal(err)
	}
	return described.OCIv1.Config
}

// run runs a container of the image with volumes, on this machine's network, and waits until it says something.
func (i images) run(ctx context.Context, t *testing.T, image string, config imageConfig, said string, volumes ...string) *process.Process {
	t.Helper()
	args := []string{"run", "--isolation", "chroot"}
	for _, volume := range volumes {
		args = append(args, "--volume", volume)
	}
	args = append(args, i.output(t, "from", image), "--")
	p, err := process.Start(i.command(slices.Concat(args, config.Entrypoint, config.Cmd)...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	if err := p.Output().WaitFor(ctx, 0, said); err != nil {
		t.Fatalf("%v\n%s", err, p.Output())
	}
	return p
}

// TestImage builds the image and runs what it says as the user that it says: a host registers, and is still there when
// another container has taken over the volume.
func TestImage(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	images := images{t.TempDir()}
	image := images.build(ctx, t)
	config := images.config(t, image)
	var user, group int
	if _, err := fmt.Sscanf(config.User, "%d:%d", &user, &group); err != nil || user == 0 || group == 0 {
		t.Errorf("the image's user is %q", config.User)
	}
	for _, port := range []string{"53/udp", "53/tcp"} {
		if _, exposed := config.ExposedPorts[port]; !exposed {
			t.Errorf("%s is not exposed", port)
		}
	}

	port, err := loopback.Port()
	if err != nil {
		t.Fatal(err)
	}
	address := loopback.Address(port)
	etc, database := t.TempDir(), t.TempDir()
	corefile := block(fmt.Sprintf("%s:%d", forwardZone, port), "/etc/coredns/dns.keytab", "database /var/lib/coredns")
	if err := os.WriteFile(filepath.Join(etc, "Corefile"), []byte(corefile), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := shared.realm.Keytab(filepath.Join(etc, "dns.keytab"), service); err != nil {
		t.Fatal(err)
	}
	give := func(paths ...string) {
		t.Helper()
		for _, path := range paths {
			if err := os.Chown(path, user, group); err != nil {
				t.Fatal(err)
			}
		}
	}
	give(etc, filepath.Join(etc, "Corefile"), filepath.Join(etc, "dns.keytab"))
	const listening = "CoreDNS-" // what it says then
	volumes := []string{etc + ":/etc/coredns:ro", database + ":/var/lib/coredns"}
	// Without a volume the database is in the container: its directory is the user's.
	images.run(ctx, t, image, config, listening, volumes[0]).Stop(10 * time.Second)
	// With a volume that belongs to another user, the start fails with a fix in the error.
	images.run(ctx, t, image, config, fmt.Sprintf("make the user that the server runs as (uid %d) the owner", user), volumes...)
	give(database)

	first := images.run(ctx, t, image, config, listening, volumes...)
	outcome := nsupdate(ctx, t, address, "-g", logIn(t, host1).env, "update add image.example.test 300 A 192.0.2.1")
	if outcome.Rcode != "NOERROR" {
		t.Errorf("nsupdate:\n%s", outcome.Output)
	}
	first.Stop(10 * time.Second)
	images.run(ctx, t, image, config, listening, volumes...)
	records, err := dnsutils.Dig(ctx, address, "image.example.test", "A", "+short")
	if err != nil || !slices.Equal(records, []string{"192.0.2.1"}) {
		t.Errorf("after the second start the host has %q (%v)", records, err)
	}
}
