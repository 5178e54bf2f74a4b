// Package storagetest gives tests the real stores: the ClickHouse engine, the bus, the SQL catalog,
// the cache. Only tests may import it.
//
// A package whose tests need the engine starts it again as a child of the test binary, so it needs
//
//	func TestMain(m *testing.M) { os.Exit(storagetest.Main(m)) }
package storagetest
