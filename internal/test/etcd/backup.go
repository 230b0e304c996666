package etcd

import (
	"context"
	"os"
	"path/filepath"
)

// Save keeps a copy of the data of all members. It kills and restarts them for that.
func (c *Cluster) Save(ctx context.Context) error {
	return c.replace(ctx, c.dir, filepath.Join(c.dir, "saved"))
}

// Restore kills all members and restarts them with the data of the last Save, as after a backup was restored. Revisions go
// back too.
func (c *Cluster) Restore(ctx context.Context) error {
	return c.replace(ctx, filepath.Join(c.dir, "saved"), c.dir)
}

// replace copies the members' data from one directory to another while no member runs.
func (c *Cluster) replace(ctx context.Context, from, to string) error {
	for i := range c.clients {
		c.Kill(i)
	}
	for i := range c.clients {
		name := MemberName(i)
		if err := os.RemoveAll(filepath.Join(to, name)); err != nil {
			return err
		}
		if err := os.CopyFS(filepath.Join(to, name), os.DirFS(filepath.Join(from, name))); err != nil {
			return err
		}
	}
	for i := range c.clients {
		if err := c.run(i); err != nil {
			return err
		}
	}
	for i := range c.clients {
		if err := c.Wait(ctx, i); err != nil {
			return err
		}
	}
	return nil
}
