// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"io/fs"
	"os"

	"github.com/taskiso/taskiso/internal/partition/change"
)

// Store makes partitions and remembers them in a directory of journals. One
// process at a time uses a directory; others wait for it.
type Store struct {
	journals
	live
	// create makes the file of a journal.
	create func(path string) (syncedFile, error)
}

// NewStore returns the store with its journals in dir, which is made when the
// first one is. files and view are the same machine. To change settings takes root.
func NewStore(dir string, files change.Files, view fs.FS) *Store {
	create := func(path string) (syncedFile, error) {
		return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	}
	return &Store{journals{dir}, live{files, view}, create}
}

func (s *Store) sameBoot(j *journal) bool {
	boot, err := s.bootID()
	return err == nil && boot == j.BootID
}

// Machine is this machine, as [NewStore] wants it.
type Machine = change.Machine
