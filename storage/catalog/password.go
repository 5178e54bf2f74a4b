package catalog

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// OWASP's second choice for argon2id: as hard to guess as its 46 MiB one, and fit for a small
// machine.
const (
	hashMemoryKiB = 19 * 1024
	hashTime      = 2
	hashThreads   = 1
	hashSalt      = 16
	hashKey       = 32

	// maxHashing bounds the memory of sign-ins that come at once: two hashes, 38 MiB.
	maxHashing = 2
)

// passwordHash is a password in PHC's form, $argon2id$v=19$m=…,t=…,p=…$salt$key, in its parts.
type passwordHash struct {
	memoryKiB, time uint32
	threads         uint8
	salt, key       []byte
}

// hashPassword returns the PHC string to store.
func (db *DB) hashPassword(ctx context.Context, password string) (string, error) {
	h := passwordHash{memoryKiB: hashMemoryKiB, time: hashTime, threads: hashThreads, salt: make([]byte, hashSalt), key: make([]byte, hashKey)}
	rand.Read(h.salt) // never fails: it ends the program instead
	key, err := db.derive(ctx, password, h)
	if err != nil {
		return "", err
	}
	h.key = key
	return h.String(), nil
}

// checkPassword reports whether the password is the one of a PHC string. An empty string, which is
// what an unknown user has, takes as long as any and matches nothing.
func (db *DB) checkPassword(ctx context.Context, password, phc string) (bool, error) {
	h := passwordHash{memoryKiB: hashMemoryKiB, time: hashTime, threads: hashThreads, salt: make([]byte, hashSalt), key: make([]byte, hashKey)}
	if phc != "" {
		var err error
		if h, err = parsePasswordHash(phc); err != nil {
			return false, err
		}
	}
	key, err := db.derive(ctx, password, h)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(key, h.key) == 1 && phc != "", nil
}

func (db *DB) derive(ctx context.Context, password string, h passwordHash) ([]byte, error) {
	select {
	case db.hashing <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait to check a password: %w", context.Cause(ctx))
	}
	defer func() { <-db.hashing }()
	return argon2.IDKey([]byte(password), h.salt, h.time, h.memoryKiB, h.threads, uint32(len(h.key))), nil
}

// String is the PHC form.
func (h passwordHash) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memoryKiB, h.time, h.threads,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.key))
}

// parsePasswordHash takes the parameters as they are stored, within limits that keep one sign-in
// from taking the machine.
func parsePasswordHash(phc string) (passwordHash, error) {
	var h passwordHash
	parts := strings.Split(phc, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return h, errors.New("stored password: not an argon2id hash")
	}
	if parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, errors.New("stored password: unknown version of argon2")
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memoryKiB, &h.time, &h.threads); err != nil || n != 3 ||
		parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", h.memoryKiB, h.time, h.threads) {
		return h, errors.New("stored password: parameters are not m, t and p")
	}
	if h.memoryKiB > 1<<20 || h.time < 1 || h.time > 100 || h.threads < 1 {
		return h, errors.New("stored password: parameters out of range")
	}
	var err error
	if h.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return h, errors.New("stored password: salt is not base64")
	}
	if h.key, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil {
		return h, errors.New("stored password: key is not base64")
	}
	if len(h.salt) < 8 || len(h.salt) > 64 || len(h.key) < 16 || len(h.key) > 64 {
		return h, errors.New("stored password: salt or key of a wrong length")
	}
	return h, nil
}
