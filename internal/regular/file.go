package regular

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// Errors of what is no file with a content. They come in an [*fs.PathError].
var (
	ErrDirectory = errors.New("it is a directory")
	ErrSpecial   = errors.New("it is not a regular file")
)

// Open opens a regular file for reading.
func Open(name string) (*os.File, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil: // as os.Open says it
	case info.IsDir():
		return nil, &fs.PathError{Op: "open", Path: name, Err: ErrDirectory}
	case !info.Mode().IsRegular():
		return nil, &fs.PathError{Op: "open", Path: name, Err: ErrSpecial}
	}
	return os.Open(name)
}

// ReadFile returns the content of a regular file.
func ReadFile(name string) ([]byte, error) {
	f, err := Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
