// Package layout holds the tests that keep the parts of this project apart: which package may import which.
package layout
