package view

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestFieldsOfJSON: every field has a name of small letters in JSON, since programs rely on it, and none holds octets that JSON
// would change.
func TestFieldsOfJSON(t *testing.T) {
	seen := make(map[reflect.Type]bool)
	var examine func(reflect.Type)
	examine = func(rt reflect.Type) {
		switch rt.Kind() {
		case reflect.Pointer, reflect.Slice:
			examine(rt.Elem())
			return
		case reflect.Struct:
		default:
			return
		}
		if seen[rt] || rt == reflect.TypeFor[time.Time]() {
			return
		}
		seen[rt] = true
		for field := range rt.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !field.Anonymous && (name == "" || name != strings.ToLower(name)) {
				t.Errorf("%s.%s has the name %q", rt, field.Name, name)
			}
			if field.Type == reflect.TypeFor[[]byte]() {
				t.Errorf("%s.%s is octets", rt, field.Name)
			}
			examine(field.Type)
		}
	}
	for _, v := range []any{Status{}, Context{}, Name{}, Stale{}, Change{}, Refusal{}, HandshakeFailure{}, Recent{}, Point{}, Decision{}} {
		examine(reflect.TypeOf(v))
	}
}

// TestNamedRecord: a record with its name is one object.
func TestNamedRecord(t *testing.T) {
	b, err := json.Marshal(NamedRecord{Name: "a.test.", Record: Record{TTL: 60, Type: "A", Data: "192.0.2.1", Static: true}})
	if want := `{"name":"a.test.","ttl":60,"type":"A","data":"192.0.2.1","static":true}`; err != nil || string(b) != want {
		t.Errorf("%s, %v, want %s", b, err, want)
	}
}
