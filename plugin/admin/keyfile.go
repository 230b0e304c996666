package admin

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
)

// maxKeyFile bounds the file of a key.
const maxKeyFile = 1 << 16

// readKeyFile reads the one key statement of a file in the form of named.conf, as tsig-keygen prints it. Its errors do not
// contain the secret.
func readKeyFile(name string) (*client.HMACKey, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("%s: more than %d octets", name, maxKeyFile)
	}
	tokens, err := tokensOf(string(text), name)
	if err != nil {
		return nil, err
	}
	keys, err := keysIn(tokens, name)
	if err != nil {
		return nil, err
	}
	if len(keys) != 1 {
		return nil, fmt.Errorf("%s has %d key statements, one is expected", name, len(keys))
	}
	return keys[0].hmac(name)
}

// keyStatement is a key of named.conf.
type keyStatement struct {
	name, algorithm string
	secret          string // base64
	line            int
}

// hmac returns the key of a statement in the file of that name.
func (k *keyStatement) hmac(name string) (*client.HMACKey, error) {
	secret, err := base64.StdEncoding.DecodeString(k.secret)
	if err != nil {
		return nil, fmt.Errorf("%s:%d: the secret is not base64", name, k.line)
	}
	key, err := client.NewHMACKey(k.name, k.algorithm, secret)
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, k.line, err)
	}
	return key, nil
}

// keysIn finds the key statements among the tokens of a named.conf. Other statements, and what is inside of them, are skipped.
func keysIn(tokens []policyToken, name string) (keys []keyStatement, err error) {
	depth, begins := 0, true
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		if depth == 0 && begins && t.text == "key" && !t.quoted {
			key, length, err := parseKey(tokens[i:])
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", name, t.line, err)
			}
			keys = append(keys, key)
			i += length - 1
			continue
		}
		begins = t.ends() && t.text == ";"
		switch {
		case !t.ends():
		case t.text == "{":
			depth++
		case t.text == "}":
			depth--
		}
	}
	return keys, nil
}

// errKey has no token in it, which may be the secret.
var errKey = errors.New(`not of the form key NAME { algorithm NAME; secret "BASE64"; };`)

// parseKey reads the statement that the tokens begin with, and returns its length.
func parseKey(tokens []policyToken) (key keyStatement, length int, err error) {
	if len(tokens) < 3 || tokens[1].ends() || !tokens[2].ends() || tokens[2].text != "{" {
		return key, 0, errKey
	}
	key.name, key.line = tokens[1].text, tokens[0].line
	i := 3
	for ; i+2 < len(tokens) && !tokens[i].ends(); i += 3 {
		word, value, end := tokens[i], tokens[i+1], tokens[i+2]
		if value.ends() || !end.ends() || end.text != ";" {
			return key, 0, errKey
		}
		switch {
		case strings.EqualFold(word.text, "algorithm") && key.algorithm == "":
			key.algorithm = value.text
		case strings.EqualFold(word.text, "secret") && key.secret == "":
			key.secret = value.text
		default:
			return key, 0, errKey
		}
	}
	if i+1 >= len(tokens) || tokens[i].text != "}" || tokens[i+1].text != ";" || key.algorithm == "" || key.secret == "" {
		return key, 0, errKey
	}
	return key, i + 2, nil
}
