/*
 * Reads the bundle from the EFI system partition.
 *
 * Invariant: bi->bundle is set only when every byte of the file is in memory.
 */
#include "boot/efi_loader.h"

#define MAX_BUNDLE (1ull << 30) /* far beyond any bundle; a size above it means a damaged file system */

#define BUNDLE_NAME "\\nestling\\bundle.cpio on the partition this program was loaded from"

static EFI_STATUS open_bundle(EFI_LOADED_IMAGE *loaded, EFI_FILE_HANDLE *file)
{
	static CHAR16 path[] = u"\\nestling\\bundle.cpio";
	EFI_GUID guid = SIMPLE_FILE_SYSTEM_PROTOCOL;
	EFI_FILE_IO_INTERFACE *volume;
	EFI_FILE_HANDLE root;
	EFI_STATUS status;

	status = efi_system->BootServices->HandleProtocol(loaded->DeviceHandle, &guid, (void **)&volume);
	if (EFI_ERROR(status))
		return efi_fail("this program was not loaded from a file system, so there is no bundle beside it", status);
	status = volume->OpenVolume(volume, &root);
	if (EFI_ERROR(status))
		return efi_fail("the file system this program was loaded from cannot be opened", status);
	status = root->Open(root, file, path, EFI_FILE_MODE_READ, 0);
	root->Close(root);
	if (status == EFI_NOT_FOUND)
		return efi_fail("there is no bundle: put one at " BUNDLE_NAME, status);
	if (EFI_ERROR(status))
		return efi_fail("cannot open " BUNDLE_NAME, status);
	return EFI_SUCCESS;
}

/* UEFI 2.10, EFI_FILE_PROTOCOL.SetPosition(): the position of all ones is the end of the file. */
static EFI_STATUS file_size(EFI_FILE_HANDLE file, u64 *size)
{
	EFI_STATUS status = file->SetPosition(file, ~0ull);

	if (!EFI_ERROR(status))
		status = file->GetPosition(file, size);
	if (!EFI_ERROR(status))
		status = file->SetPosition(file, 0);
	return status;
}

static EFI_STATUS read_all(EFI_FILE_HANDLE file, u64 at, u64 size)
{
	while (size) {
		UINTN n = MIN(size, 1ull << 20);
		EFI_STATUS status = file->Read(file, &n, (void *)at);

		if (EFI_ERROR(status))
			return efi_fail("cannot read " BUNDLE_NAME, status);
		if (!n)
			return efi_fail("the file ends too early: " BUNDLE_NAME, EFI_END_OF_FILE);
		at += n;
		size -= n;
	}
	return EFI_SUCCESS;
}

static EFI_STATUS read_bundle(EFI_FILE_HANDLE file, struct bootinfo *bi)
{
	u64 size, at;
	EFI_STATUS status = file_size(file, &size);

	if (EFI_ERROR(status))
		return efi_fail("cannot find out the size of " BUNDLE_NAME, status);
	if (!size)
		return efi_fail("the file is empty: " BUNDLE_NAME, EFI_END_OF_FILE);
	if (size > MAX_BUNDLE)
		return efi_fail("larger than 1 GiB: " BUNDLE_NAME, EFI_BAD_BUFFER_SIZE);
	status = efi_alloc(EfiLoaderData, size, PAGE_SIZE, &at);
	if (EFI_ERROR(status))
		return efi_fail("too large for the memory below 4 GiB: " BUNDLE_NAME, status);
	status = read_all(file, at, size);
	if (EFI_ERROR(status))
		return status;
	bi->bundle = HPA(at);
	bi->bundle_len = size;
	return EFI_SUCCESS;
}

EFI_STATUS efi_read_bundle(EFI_LOADED_IMAGE *loaded, struct bootinfo *bi)
{
	EFI_FILE_HANDLE file;
	EFI_STATUS status = open_bundle(loaded, &file);

	if (EFI_ERROR(status))
		return status;
	status = read_bundle(file, bi);
	file->Close(file);
	return status;
}
