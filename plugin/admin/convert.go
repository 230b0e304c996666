package admin

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// maxPolicy bounds the text that convert reads.
const maxPolicy = 1 << 20

// convert prints the rules of BIND's update-policy as lines of a Corefile, or all of a Corefile.
func convert(flags *flag.FlagSet) runner {
	whole := flags.Bool("corefile", false, "print a whole Corefile, with zones, keytab and HMAC keys; it contains the secrets of the keys")
	output := addOutputFlag(flags)
	return func(s Streams, args []string) (int, error) {
		name, in := "standard input", s.In
		switch {
		case len(args) > 1:
			return 0, &usageError{"one FILE is expected, or none for standard input"}
		case len(args) == 1 && args[0] != "-":
			name = args[0]
			f, err := os.Open(name)
			if err != nil {
				return 0, err
			}
			defer f.Close()
			in = f
		}
		text, err := io.ReadAll(io.LimitReader(in, maxPolicy+1))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		if len(text) > maxPolicy {
			return 0, fmt.Errorf("%s: more than %d octets", name, maxPolicy)
		}
		conversion := convertPolicy
		if *whole {
			conversion = convertCorefile
		}
		lines, err := conversion(string(text), name)
		var failure error
		if output.json {
			converted := convertedJSON{Lines: []string{}}
			for _, line := range lines {
				converted.Lines = append(converted.Lines, strings.TrimSuffix(line, "\n"))
			}
			failure = printJSON(s.Out, converted)
		} else {
			_, failure = io.WriteString(s.Out, strings.Join(lines, ""))
		}
		return ExitOK, errors.Join(err, failure)
	}
}

// convertPolicy converts the update-policy statements of a named.conf, or the rules of one statement alone. The words stay
// the same: grant and deny have BIND's meaning. Of several policies each begins with a comment that names its zone: each needs
// a server block of its own. A policy that cannot be converted as a whole is left out, because a part of it may grant more
// than the whole; the others are converted. The error names each of these policies, and every line that is the reason.
func convertPolicy(text, name string) (lines []string, err error) {
	tokens, err := tokensOf(text, name)
	if err != nil {
		return nil, err
	}
	policies, err := policiesIn(tokens, name)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, p := range policies {
		converted, err := p.convert(name)
		note := ""
		if err != nil {
			errs = append(errs, fmt.Errorf("the policy of zone %s is left out: it cannot be converted as a whole\n%w", p.zone, err))
			converted, note = nil, ": left out"
		}
		if len(policies) > 1 {
			lines = append(lines, fmt.Sprintf("# zone %s, %s:%d%s\n", p.zone, name, p.line, note))
		}
		lines = append(lines, converted...)
	}
	if len(errs) == len(policies) {
		lines = nil
	}
	return lines, errors.Join(errs...)
}

// convert converts one policy.
func (p *zonePolicy) convert(name string) (lines []string, err error) {
	switch {
	case p.rules != nil:
		return convertRules(p.rules, name)
	case p.allowed != nil:
		return p.convertAllowed(name)
	case p.local:
		return nil, fmt.Errorf("%s:%d: update-policy local is not supported. Fix: use a key of the tsig plugin and the rule grant KEY. zonesub ANY",
			name, p.line)
	}
	return nil, fmt.Errorf("%s:%d: no brace after update-policy", name, p.line)
}

// convertAllowed converts the keys of allow-update, which permits them every change of the zone.
func (p *zonePolicy) convertAllowed(name string) (lines []string, err error) {
	var rules []policyToken
	for words := p.allowed; len(words) > 0 && words[0].text != "}"; words = words[3:] {
		if len(words) < 3 || words[0].text != "key" || words[1].ends() || words[2].text != ";" {
			return nil, fmt.Errorf("%s:%d: allow-update permits %q, and only keys can be converted. Fix: have these clients sign, or see the mode nonsecure-and-secure",
				name, words[0].line, words[0].text)
		}
		at := words[1].line
		rules = append(rules, policyToken{text: "grant", line: at}, words[1], policyToken{text: "zonesub", line: at}, policyToken{text: "ANY", line: at}, words[2])
	}
	return convertRules(append(rules, policyToken{text: "}"}), name)
}

// convertRules converts the rules up to the brace that closes them.
func convertRules(rules []policyToken, name string) (lines []string, err error) {
	var errs []error
	for len(rules) > 0 && rules[0].text != "}" {
		var words []string
		verb := rules[0]
		at := fmt.Sprintf("%s:%d", name, verb.line)
		for rules = rules[1:]; len(rules) > 0 && !rules[0].ends(); rules = rules[1:] {
			words = append(words, rules[0].text)
		}
		if len(rules) == 0 || rules[0].text != ";" {
			return nil, errors.Join(append(errs, fmt.Errorf("%s: the rule that begins here has no semicolon", at))...)
		}
		rules = rules[1:]
		if verb.text != "grant" && verb.text != "deny" {
			errs = append(errs, fmt.Errorf("%s: %q is neither grant nor deny", at, verb.text))
			continue
		}
		if len(words) > 0 && words[0] == policy.AdministratorName {
			words[0] += "." // in named.conf it is the name of a key
		}
		if _, err := policy.ParseRule(words, at, verb.text == "deny"); err != nil {
			errs = append(errs, err)
			continue
		}
		line := verb.text
		for _, word := range words {
			line += " " + quoted(word)
		}
		lines = append(lines, line+"\n")
	}
	if len(errs) == 0 && len(lines) == 0 {
		errs = append(errs, fmt.Errorf("%s: the update-policy has no rules", name))
	}
	return lines, errors.Join(errs...)
}

// zonePolicy is an update-policy or an allow-update: the tokens after its brace, its line, and its zone.
type zonePolicy struct {
	zone    string // "?" if the text does not have it
	line    int
	rules   []policyToken // nil if there is no brace
	local   bool          // "update-policy local"
	allowed []policyToken // of allow-update
}

// policiesIn finds the policies. Other statements are skipped, and so is an allow-update of no zone, or that permits none.
func policiesIn(tokens []policyToken, name string) (policies []zonePolicy, err error) {
	zone := "?"
	depth, outside := 0, -1 // of braces: here, and around the zone statement that this is in; -1 if it is in none
	for i, t := range tokens {
		next := policyToken{}
		if i+1 < len(tokens) {
			next = tokens[i+1]
		}
		switch {
		case t.ends() && t.text == "{":
			depth++
		case t.ends() && t.text == "}":
			if depth--; depth == outside {
				outside = -1
			}
		case t.text == "zone" && !t.quoted && !next.ends():
			zone, outside = next.text, depth
		case t.text == "allow-update" && !t.quoted && outside >= 0 && next.text == "{" && i+2 < len(tokens) && tokens[i+2].text != "none" && tokens[i+2].text != "}":
			policies = append(policies, zonePolicy{zone: zone, line: t.line, allowed: tokens[i+2:]})
		case t.text != "update-policy" || t.quoted:
		case next.text == "{":
			policies = append(policies, zonePolicy{zone: zone, line: t.line, rules: tokens[i+2:]})
		default:
			policies = append(policies, zonePolicy{zone: zone, line: t.line, local: next.text == "local" && !next.quoted})
		}
	}
	switch {
	case policies != nil:
		return policies, nil
	case len(tokens) > 0 && (tokens[0].text == "grant" || tokens[0].text == "deny"):
		return []zonePolicy{{zone: "?", line: tokens[0].line, rules: tokens}}, nil
	}
	return nil, diagnose.WithFix(fmt.Errorf("%s: there is no update-policy in the file", name), "name the file that has the zone statements: named-checkconf -p prints a named.conf with all files that it includes")
}

// policyToken is a word of named.conf, or one of the characters { } ;.
type policyToken struct {
	text   string
	line   int
	quoted bool // was in quotation marks, which are removed
}

func (t policyToken) ends() bool {
	return !t.quoted && (t.text == ";" || t.text == "{" || t.text == "}")
}

// tokensOf splits named.conf into tokens; comments are those of C, C++ and the shell.
func tokensOf(text, name string) (tokens []policyToken, err error) {
	line := 1
	for len(text) > 0 {
		length := 1
		switch {
		case text[0] == '\n' || text[0] == ' ' || text[0] == '\t' || text[0] == '\r':
		case text[0] == '#' || strings.HasPrefix(text, "//"):
			if length = strings.IndexByte(text, '\n'); length < 0 {
				length = len(text)
			}
		case strings.HasPrefix(text, "/*"):
			end := strings.Index(text[2:], "*/")
			if end < 0 {
				return nil, fmt.Errorf("%s:%d: a comment is not closed", name, line)
			}
			length = end + len("/**/")
		case text[0] == '"':
			end := strings.IndexAny(text[1:], "\"\n")
			if end < 0 || text[1+end] == '\n' {
				return nil, fmt.Errorf("%s:%d: a quotation mark is not closed", name, line)
			}
			length = end + 2
			tokens = append(tokens, policyToken{text[1 : 1+end], line, true})
		case strings.IndexByte("{};", text[0]) >= 0:
			tokens = append(tokens, policyToken{text[:1], line, false})
		default:
			if length = strings.IndexAny(text, " \t\r\n{};\""); length < 0 {
				length = len(text)
			}
			tokens = append(tokens, policyToken{text[:length], line, false})
		}
		line += strings.Count(text[:length], "\n")
		text = text[length:]
	}
	return tokens, nil
}

// quoted quotes a word for the Corefile, if that is needed.
func quoted(word string) string {
	if word != "" && !strings.ContainsAny(word, " \t#{}") {
		return word
	}
	return `"` + word + `"`
}
