//go:build !unix

package disk

const noFollow = 0

// checkAccess knows no permissions here.
func checkAccess(string) error { return nil }

func checkLink(string) error { return nil }

// Replaceable knows no permissions here.
func Replaceable(string) string { return "" }
