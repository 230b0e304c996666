package diagnose

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

var full = Finding{Severity: Error, Subject: "zone example.com.", Problem: "it has no name server",
	ClientError: `"no servers"`, Fix: "add an NS record"}

func TestText(t *testing.T) {
	bare := Finding{Severity: OK, Subject: "keytab", Problem: "3 keys"}
	for f, want := range map[Finding]string{
		full:                   `zone example.com.: it has no name server. Clients show: "no servers". Fix: add an NS record`,
		bare:                   "keytab: 3 keys",
		{Problem: "3 of them"}: "3 of them",
	} {
		if got := f.String(); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
	var out strings.Builder
	const want = `ok      keytab: 3 keys
error   zone example.com.: it has no name server
        Clients show: "no servers"
        Fix: add an NS record
`
	if err := Write(&out, []Finding{bare, full}); err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out.String(), want)
	}
}

func TestJSON(t *testing.T) {
	const want = `{"severity":"error","subject":"zone example.com.","problem":"it has no name server",` +
		`"client_error":"\"no servers\"","fix":"add an NS record"}`
	if got, err := json.Marshal(full); err != nil || string(got) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}

func TestFailed(t *testing.T) {
	if Failed(nil) || Failed([]Finding{{Severity: OK}, {Severity: Warning}}) || !Failed([]Finding{{Severity: OK}, full}) {
		t.Error("an error, and nothing less, is a failure")
	}
}

func TestErrors(t *testing.T) {
	err := fmt.Errorf("zone a.: %w", WithFix(fmt.Errorf("database: %w", fs.ErrPermission), "chown %s DIR", "coredns"))
	if got, want := err.Error(), "zone a.: database: permission denied. Fix: chown coredns DIR"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if !errors.Is(err, fs.ErrPermission) {
		t.Error("the cause is lost")
	}
	want := Finding{Severity: Error, Subject: "zone a.", Problem: "database: permission denied", Fix: "chown coredns DIR"}
	if got := FromError("zone a.", err); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	// The final dot of a name ends the sentence too.
	err = fmt.Errorf("update: %w", WithFix(errors.New("a.org. is not in the zone a.test."), "write another"))
	if got, want := err.Error(), "update: a.org. is not in the zone a.test. Fix: write another"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	dotted := FromError("", err)
	if got := dotted.String(); dotted.Fix != "write another" || !strings.HasSuffix(dotted.Problem, "a.test.") || got != err.Error() {
		t.Errorf("%+v, %q", dotted, got)
	}
	err = WithFix(errors.New("no zone ."), "name one")
	if got := FromError("", err); got.Problem != "no zone ." || got.String() != "no zone .. Fix: name one" {
		t.Errorf("%+v, %q", got, got.String())
	}
	err = fmt.Errorf("zone a.: %w", WithFix(fmt.Errorf("database: %w", fs.ErrPermission), "chown %s DIR", "coredns"))
	// An error that was joined to another one keeps its text whole.
	if got := FromError("x", errors.Join(err, errors.New("closing"))); got.Fix != "" || !strings.Contains(got.Problem, "Fix: chown") {
		t.Errorf("joined: %+v", got)
	}
	if got := FromError("x", fs.ErrExist); got.Problem != fs.ErrExist.Error() || got.Fix != "" {
		t.Errorf("plain: %+v", got)
	}
}
