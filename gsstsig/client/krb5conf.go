package client

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jcmturner/gokrb5/v8/config"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/krb5conf"
)

// defaultEnctypes are asked for when krb5.conf says nothing, best first,
// in MIT's order: the SHA-1 types lead because every KDC has them.
var defaultEnctypes = []krb5.Enctype{krb5.AES256SHA1, krb5.AES128SHA1, krb5.AES256SHA2, krb5.AES128SHA2}

// loadConfig reads krb5.conf. gokrb5 takes permitted_enctypes for a setting of
// its own, while for MIT it is what default_tkt_enctypes and
// default_tgs_enctypes fall back to; and its built-in lists know neither of the
// SHA-2 types. Both are corrected here.
func loadConfig(file string) (*config.Config, error) {
	conf, err := krb5conf.Load(file)
	if err != nil {
		return nil, err
	}
	builtin := config.New().LibDefaults
	set := &conf.LibDefaults

	fallback := numbers(defaultEnctypes)
	if !slices.Equal(set.PermittedEnctypes, builtin.PermittedEnctypes) {
		if fallback = enctypes(set.PermittedEnctypes); len(fallback) == 0 {
			return nil, fmt.Errorf("krb5.conf %s: permitted_enctypes names no usable encryption type", file)
		}
	}
	set.DefaultTktEnctypeIDs, set.DefaultTGSEnctypeIDs = slices.Clone(fallback), slices.Clone(fallback)
	if !slices.Equal(set.DefaultTktEnctypes, builtin.DefaultTktEnctypes) {
		set.DefaultTktEnctypeIDs = enctypes(set.DefaultTktEnctypes)
	}
	if !slices.Equal(set.DefaultTGSEnctypes, builtin.DefaultTGSEnctypes) {
		set.DefaultTGSEnctypeIDs = enctypes(set.DefaultTGSEnctypes)
	}
	if len(set.DefaultTktEnctypeIDs) == 0 || len(set.DefaultTGSEnctypeIDs) == 0 {
		return nil, fmt.Errorf("krb5.conf %s: default_tkt_enctypes or default_tgs_enctypes names no usable encryption type", file)
	}
	return conf, nil
}

// enctypes turns the names in krb5.conf, separated by blanks or commas as MIT
// allows, into the numbers that gokrb5 takes. "aes" stands for the four AES
// types. Unknown names and types that no acceptor here supports are left out.
func enctypes(names []string) []int32 {
	var list []krb5.Enctype
	for _, name := range strings.FieldsFunc(strings.Join(names, " "), func(r rune) bool { return r == ' ' || r == ',' }) {
		if strings.EqualFold(name, "aes") {
			list = append(list, defaultEnctypes...)
		} else if e, err := krb5.ParseEnctype(name); err == nil && e.Supported() {
			list = append(list, e)
		}
	}
	return numbers(list)
}

// numbers are the types as gokrb5 holds them, each once.
func numbers(list []krb5.Enctype) []int32 {
	var numbers []int32
	for _, e := range list {
		if !slices.Contains(numbers, int32(e)) {
			numbers = append(numbers, int32(e))
		}
	}
	return numbers
}
