package client

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
)

// defaultEncryptionTypes are asked for when krb5.conf says nothing, best first,
// in MIT's order: the SHA-1 types lead because every KDC has them.
var defaultEncryptionTypes = []int32{
	etypeID.AES256_CTS_HMAC_SHA1_96,
	etypeID.AES128_CTS_HMAC_SHA1_96,
	etypeID.AES256_CTS_HMAC_SHA384_192,
	etypeID.AES128_CTS_HMAC_SHA256_128,
}

// loadConfig reads krb5.conf. gokrb5 takes permitted_enctypes for a setting of
// its own, while for MIT it is what default_tkt_enctypes and
// default_tgs_enctypes fall back to; and its built-in lists know neither of the
// SHA-2 types. Both are mended here.
func loadConfig(file string) (*config.Config, error) {
	conf, err := config.Load(file)
	var unsupported config.UnsupportedDirective
	if err != nil && !errors.As(err, &unsupported) {
		return nil, fmt.Errorf("krb5.conf %s: %w", file, err)
	}
	builtin := config.New().LibDefaults
	set := &conf.LibDefaults

	fallback := defaultEncryptionTypes
	if !slices.Equal(set.PermittedEnctypes, builtin.PermittedEnctypes) {
		if fallback = encryptionTypes(set.PermittedEnctypes); len(fallback) == 0 {
			return nil, fmt.Errorf("krb5.conf %s: permitted_enctypes names no usable encryption type", file)
		}
	}
	set.DefaultTktEnctypeIDs, set.DefaultTGSEnctypeIDs = slices.Clone(fallback), slices.Clone(fallback)
	if !slices.Equal(set.DefaultTktEnctypes, builtin.DefaultTktEnctypes) {
		set.DefaultTktEnctypeIDs = encryptionTypes(set.DefaultTktEnctypes)
	}
	if !slices.Equal(set.DefaultTGSEnctypes, builtin.DefaultTGSEnctypes) {
		set.DefaultTGSEnctypeIDs = encryptionTypes(set.DefaultTGSEnctypes)
	}
	if len(set.DefaultTktEnctypeIDs) == 0 || len(set.DefaultTGSEnctypeIDs) == 0 {
		return nil, fmt.Errorf("krb5.conf %s: default_tkt_enctypes or default_tgs_enctypes names no usable encryption type", file)
	}
	return conf, nil
}

// encryptionTypes turns names, separated by blanks or commas as MIT allows, to
// numbers. "aes" stands for the four AES types; names of others are passed over,
// and so are the triple-DES types, which no acceptor here takes.
func encryptionTypes(names []string) []int32 {
	var numbers []int32
	add := func(number int32) {
		if number != 0 && number != etypeID.DES3_CBC_SHA1_KD && !slices.Contains(numbers, number) {
			numbers = append(numbers, number)
		}
	}
	for _, name := range strings.FieldsFunc(strings.Join(names, " "), func(r rune) bool { return r == ' ' || r == ',' }) {
		if name = strings.ToLower(name); name == "aes" {
			for _, number := range defaultEncryptionTypes {
				add(number)
			}
			continue
		}
		add(etypeID.EtypeSupported(name))
	}
	return numbers
}
